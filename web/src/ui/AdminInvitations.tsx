/** Who is asked in: by e-mail address where an issuer signs people in, by a link that works once otherwise. */

import { useState } from 'preact/hooks';
import { accounts, type Invitation } from '../accounts';
import { words as account } from '../i18n/account';
import { words } from '../i18n/admin';
import { dayOf } from '../lib/format';
import { locale } from '../lib/i18n';
import { server } from '../store';
import type { AccountRole as Role } from '../wire';
import { ROLES } from './AdminUsers';
import { Copied } from './ApiKeys';
import { Loaded, Refusal, Sure, useChange, useLoaded, useShownOnce } from './Loaded';

const DAYS = [1, 7, 14, 30];

export function AdminInvitations() {
  const list = useLoaded(accounts.invitations);
  const [made, setMade] = useState<Invitation | null>(null);
  const [whom, setWhom] = useState('');
  const [role, setRole] = useState<Role>('member');
  const [group, setGroup] = useState('');
  const [days, setDays] = useState(14);
  const { isBusy, problem, run } = useChange();
  const w = words.value;
  const byEmail = server.value?.auth === 'oidc';
  const invite = async (event: SubmitEvent) => {
    event.preventDefault();
    const who = byEmail ? { email: whom.trim() } : { name: whom.trim() };
    const one = await run(() => accounts.invite({ ...who, role, ...(group.trim() ? { group: group.trim() } : {}), days }));
    if (one === null) return;
    setMade(one);
    setWhom('');
    list.put([one, ...(list.value ?? [])]);
  };
  const revoke = async (id: string) => {
    if ((await run(async () => (await accounts.revokeInvitation(id), true))) === null) return;
    list.put((list.value ?? []).filter((one) => one.id !== id));
    if (made?.id === id) setMade(null);
  };
  return (
    <>
      <form class="form" onSubmit={(event) => void invite(event)}>
        <label>
          {byEmail ? w.email : w.name}
          <input type={(byEmail ? 'email' : 'text') as 'text'} required value={whom} maxLength={byEmail ? 254 : 64} autocomplete="off" spellcheck={false} onInput={(event) => setWhom(event.currentTarget.value)} />
        </label>
        <label>
          {w.role}
          <select value={role} onChange={(event) => setRole(event.currentTarget.value as Role)}>
            {ROLES.map((one) => <option key={one} value={one}>{account.value.roles[one]}</option>)}
          </select>
        </label>
        <label>
          {w.group}
          <input value={group} maxLength={64} autocomplete="off" onInput={(event) => setGroup(event.currentTarget.value)} />
        </label>
        <label>
          {w.validFor}
          <select value={days} onChange={(event) => setDays(Number(event.currentTarget.value))}>
            {DAYS.map((n) => <option key={n} value={n}>{w.days(n)}</option>)}
          </select>
        </label>
        <button type="submit" class="button primary" disabled={whom.trim() === ''} aria-disabled={isBusy}>{w.invite}</button>
      </form>
      <Refusal problem={problem} />
      {made && <Made key={made.id} made={made} />}
      <Loaded of={list}>
        {(all) =>
          all.length === 0 ? (
            <p class="quiet">{w.invitationsNone}</p>
          ) : (
            <ul class="entries" aria-label={w.parts.invitations}>
              {all.map((one) => {
                const name = one.email ?? one.name ?? '';
                return (
                  <li key={one.id}>
                    <div class="row-text">
                      <p class="row-name" dir="auto">{name}</p>
                      <p class="quiet small">{[account.value.roles[one.role], one.group, account.value.endsOn(dayOf(one.expires_at, locale.value))].filter(Boolean).join(' · ')}</p>
                    </div>
                    <Sure label={account.value.revoke} name={account.value.revokeOne(name)} question={w.revokeInvitation} yes={account.value.revoke} isBusy={isBusy} run={() => void revoke(one.id)} />
                  </li>
                );
              })}
            </ul>
          )
        }
      </Loaded>
    </>
  );
}

function Made({ made }: { made: Invitation }) {
  const w = words.value;
  return (
    <section class="once" aria-label={w.invite} ref={useShownOnce()}>
      <p role="status"><strong>{made.link ? w.linkOnce : w.invited(made.email ?? '')}</strong></p>
      {made.link && <Copied label={w.link} text={location.origin + made.link} />}
    </section>
  );
}
