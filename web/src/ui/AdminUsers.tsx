/** Who may come in: found by name, given a role or a group, suspended, deleted. */

import { useState } from 'preact/hooks';
import { accounts, type Receipt, type User } from '../accounts';
import { words as account } from '../i18n/account';
import { words } from '../i18n/admin';
import { count, dayOf } from '../lib/format';
import { locale } from '../lib/i18n';
import { profile } from '../store';
import type { AccountRole as Role, Page } from '../wire';
import { Finder, Loaded, Refusal, Sure, useChange, useLoaded } from './Loaded';

export const ROLES: readonly Role[] = ['admin', 'member', 'viewer'];
export const nameOf = (user: Pick<User, 'id' | 'name' | 'email'>): string => user.name ?? user.email ?? user.id;

export function AdminUsers() {
  const [q, setQ] = useState('');
  const [opened, setOpened] = useState<string | null>(null);
  const [receipt, setReceipt] = useState<{ name: string; receipt: Receipt } | null>(null);
  const users = useLoaded(() => accounts.users(q, null), q);
  const more = useChange();
  const w = words.value;
  const put = (data: User[]) => users.put({ ...users.value!, data });
  const older = async () => {
    const page = users.value!;
    const next = await more.run(() => accounts.users(q, page.last_id));
    if (next) users.put({ ...next, data: [...page.data, ...next.data.filter(({ id }) => !page.data.some((one) => one.id === id))] });
  };
  return (
    <>
      <Finder label={w.findUsers} find={setQ} />
      {receipt && <Gone name={receipt.name} receipt={receipt.receipt} />}
      <Loaded of={users}>
        {(page: Page<User>) => (
          <>
            <p class="sr-only" role="status">{w.usersShown(count(page.data.length, locale.value))}</p>
            {page.data.length === 0 && !page.has_more && <p class="quiet">{q ? w.usersNotFound(q) : w.usersNone}</p>}
            <ul class="entries" aria-label={w.parts.users}>
              {page.data.map((user) => (
                <li key={user.id} class="person">
                  <button type="button" class="row-text" aria-expanded={opened === user.id} onClick={() => setOpened(opened === user.id ? null : user.id)}>
                    <span class="row-name" dir="auto">{nameOf(user)}</span>
                    <span class="quiet small" dir="auto">
                      {[user.email === nameOf(user) ? null : user.email, account.value.roles[user.role], user.group, user.last_seen_at ? account.value.deviceSeen(dayOf(user.last_seen_at, locale.value)) : w.neverSeen].filter(Boolean).join(' · ')}
                    </span>
                    {user.status === 'suspended' && <span class="tag warn">{w.suspended}</span>}
                  </button>
                  {opened === user.id && (
                    <OneUser
                      user={user}
                      changed={(next) => put(page.data.map((one) => (one.id === next.id ? next : one)))}
                      gone={(got) => {
                        setReceipt({ name: nameOf(user), receipt: got });
                        put(page.data.filter(({ id }) => id !== user.id));
                      }}
                    />
                  )}
                </li>
              ))}
            </ul>
            <Refusal problem={more.problem} />
            {page.has_more && <button type="button" class="button" aria-disabled={more.isBusy} onClick={() => void older()}>{w.moreUsers}</button>}
          </>
        )}
      </Loaded>
    </>
  );
}

interface OneProps {
  user: User;
  changed: (user: User) => void;
  gone: (receipt: Receipt) => void;
}

function OneUser({ user, changed, gone }: OneProps) {
  const [group, setGroup] = useState(user.group ?? '');
  const [shownRole, setShownRole] = useState<Role>(user.role);
  const { isBusy, problem, run } = useChange();
  const w = words.value;
  const isSelf = user.id === profile.value?.id;
  const change = async (changes: Parameters<typeof accounts.changeUser>[1]) => {
    const next = await run(() => accounts.changeUser(user.id, changes));
    if (next) changed(next);
    setShownRole(next?.role ?? user.role);
  };
  const remove = async () => {
    const answer = await run(() => accounts.deleteUser(user.id));
    if (answer) gone(answer);
  };
  return (
    <div class="form">
      <label>
        {w.role}
        <select value={shownRole} onChange={(event) => { setShownRole(event.currentTarget.value as Role); void change({ role: event.currentTarget.value as Role }); }}>
          {ROLES.map((role) => <option key={role} value={role}>{account.value.roles[role]}</option>)}
        </select>
      </label>
      <label>
        {w.group}
        <input value={group} maxLength={64} autocomplete="off" onInput={(event) => setGroup(event.currentTarget.value)} onChange={() => group.trim() !== (user.group ?? '') && void change({ group: group.trim() })} />
      </label>
      <p class="quiet small wide">{w.since(dayOf(user.created_at, locale.value))} · <code>{user.id}</code></p>
      <Refusal problem={problem} />
      {!isSelf && (
        <div class="links wide">
          {user.status === 'active' ? (
            <Sure label={w.suspend} question={w.suspendSure} yes={w.suspend} isBusy={isBusy} run={() => void change({ status: 'suspended' })} />
          ) : (
            <button type="button" class="text-button" aria-disabled={isBusy} onClick={() => void change({ status: 'active' })}>{w.restore}</button>
          )}
          <Sure label={w.deleteUser} question={w.deleteUserSure(nameOf(user))} yes={w.deleteUser} isBusy={isBusy} run={() => void remove()} />
        </div>
      )}
    </div>
  );
}

const Gone = ({ name, receipt }: { name: string; receipt: Receipt }) => (
  <div class="once" role="status">
    <p><strong dir="auto">{words.value.deletedUser(name)}</strong></p>
    <p class="quiet small">{Object.entries(receipt).filter(([, n]) => n > 0).map(([what, n]) => `${what.replaceAll('_', ' ')}: ${count(n, locale.value)}`).join(' · ')}</p>
  </div>
);
