/** What everybody, a group or one user may use; an empty field says from where its limit is taken instead. */

import { useLayoutEffect, useRef, useState } from 'preact/hooks';
import { accounts, LIMITS, type AllLimits, type LimitName, type Limits, type Used, type User } from '../accounts';
import { words as account } from '../i18n/account';
import { words } from '../i18n/admin';
import { part } from '../api';
import { amount, typed } from '../lib/limits';
import { locale, t } from '../lib/i18n';
import { nameOf } from './AdminUsers';
import { Finder, Loaded, Refusal, useChange, useLoaded } from './Loaded';

const NONE = Object.fromEntries(LIMITS.map((name) => [name, null])) as Limits;

type Person = Pick<User, 'id' | 'name' | 'email'>;
/** Who is meant: by name, and by address where that is another. */
const fullName = (user: Person): string => [nameOf(user), user.email === nameOf(user) ? null : user.email].filter(Boolean).join(' · ');

interface Chosen {
  whom: string;
  title: string;
}

export function AdminLimits() {
  const all = useLoaded(accounts.limits);
  const [added, setAdded] = useState<readonly Chosen[]>([]);
  const [chosen, setChosen] = useState<Chosen | null>(null);
  const w = words.value;
  const choose = (one: Chosen) => {
    setAdded([...added.filter(({ whom }) => whom !== one.whom), one]);
    setChosen(one);
  };
  return (
    <Loaded of={all}>
      {(limits) => {
        const groups = limits.groups.map(({ name: group, limits: own }) => ({ whom: `groups/${part(group)}`, title: w.ofGroup(group), own, used: {} as Used }));
        const users = limits.users.map((user) => ({ whom: `users/${part(user.id)}`, title: fullName(user), own: user.limits, used: user.used }));
        const known = [...groups, ...users];
        const extra = added.filter(({ whom }) => !known.some((one) => one.whom === whom)).map((one) => ({ ...one, own: NONE, used: {} as Used }));
        return (
          <>
            <p class="quiet small">{w.limitsIntro}</p>
            <Fields whom="house" title={w.house} own={limits.house.limits} used={limits.house.used} below={null} chosen={null} put={all.put} />
            {[...known, ...extra].map((one) => <Fields key={one.whom} {...one} below={limits.defaults} chosen={chosen?.whom === one.whom ? chosen : null} put={all.put} />)}
            <Choice choose={choose} />
          </>
        );
      }}
    </Loaded>
  );
}

/** For whom limits are to be set: a group by its name, or somebody out of all users. */
function Choice({ choose }: { choose: (one: Chosen) => void }) {
  const [kind, setKind] = useState<'groups' | 'users'>('groups');
  const [name, setName] = useState('');
  const w = words.value;
  return (
    <>
      <form
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          choose({ whom: `groups/${part(name.trim())}`, title: w.ofGroup(name.trim()) });
          setName('');
        }}
      >
        <label>
          {w.limitFor}
          <select value={kind} onChange={(event) => setKind(event.currentTarget.value as 'groups' | 'users')}>
            <option value="groups">{w.aGroup}</option>
            <option value="users">{w.aUser}</option>
          </select>
        </label>
        {kind === 'groups' && (
          <>
            <label>
              {w.group}
              <input required value={name} maxLength={64} autocomplete="off" spellcheck={false} onInput={(event) => setName(event.currentTarget.value)} />
            </label>
            <button type="submit" class="button" disabled={name.trim() === ''}>{w.addLimits}</button>
          </>
        )}
      </form>
      {kind === 'users' && <Users choose={(user) => choose({ whom: `users/${part(user.id)}`, title: fullName(user) })} />}
    </>
  );
}

const SHOWN = 6;

function Users({ choose }: { choose: (user: User) => void }) {
  const [q, setQ] = useState('');
  const found = useLoaded(() => accounts.users(q, null), q);
  const w = words.value;
  return (
    <>
      <Finder label={w.findUsers} find={setQ} />
      <Loaded of={found}>
        {({ data, has_more }) => (
          <>
            <ul class="entries" aria-label={w.chooseUser}>
              {data.slice(0, SHOWN).map((user) => (
                <li key={user.id}>
                  <button type="button" class="row-text" onClick={() => choose(user)}>
                    <span class="row-name" dir="auto">{nameOf(user)}</span>
                    <span class="quiet small" dir="auto">{[user.email === nameOf(user) ? null : user.email, user.group].filter(Boolean).join(' · ')}</span>
                  </button>
                </li>
              ))}
            </ul>
            <p class="quiet small" role="status">{data.length === 0 ? (q ? w.usersNotFound(q) : w.usersNone) : (has_more || data.length > SHOWN) && w.typeOn}</p>
          </>
        )}
      </Loaded>
    </>
  );
}

interface FieldsProps {
  whom: string;
  title: string;
  own: Limits;
  used: Used;
  /** What holds where nothing is said; null: nothing does. */
  below: Limits | null;
  /** Set when somebody wants these to be the ones that are changed now. */
  chosen: object | null;
  put: (all: AllLimits) => void;
}

function Fields({ whom, title, own, used, below, chosen, put }: FieldsProps) {
  const [texts, setTexts] = useState<Record<LimitName, string>>(() => textsOf(own));
  const [isSaved, setSaved] = useState(false);
  const { isBusy, problem, run } = useChange();
  const node = useRef<HTMLDetailsElement>(null);
  const w = words.value;
  useLayoutEffect(() => {
    if (!chosen || !node.current) return;
    node.current.open = true;
    node.current.querySelector('input')?.focus();
  }, [chosen]);
  const values = Object.fromEntries(LIMITS.map((name) => [name, typed(name, texts[name])])) as Record<LimitName, number | null | undefined>;
  const isValid = LIMITS.every((name) => values[name] !== undefined);
  const isChanged = LIMITS.some((name) => values[name] !== own[name]);
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
    if (!isChanged) return;
    const all = await run(() => accounts.setLimits(whom, values as Limits));
    if (all === null) return;
    put(all);
    setSaved(true);
  };
  const inherited = (name: LimitName): string => {
    const value = below?.[name];
    return value ? w.inherits(amount(name, value, locale.value)) : w.noLimit;
  };
  return (
    <details class="limits" ref={node} open={whom === 'house' || undefined}>
      <summary dir="auto">{title}</summary>
      <form class="form" onSubmit={(event) => void save(event)} aria-label={title}>
        {LIMITS.map((name) => (
          <label key={name}>
            {account.value.limitNames[name]}
            <input
              inputMode="decimal"
              value={texts[name]}
              placeholder={inherited(name)}
              aria-invalid={values[name] === undefined || undefined}
              onInput={(event) => {
                setSaved(false);
                setTexts({ ...texts, [name]: event.currentTarget.value });
              }}
            />
            {used[name] && <span class="quiet small">{w.used(amount(name, used[name].used, locale.value))}</span>}
          </label>
        ))}
        <Refusal problem={problem} />
        <p class="quiet small wide" role="status">{isSaved && !isChanged ? t.value.instructionsSaved : isValid ? w.emptyInherits : w.notAnAmount}</p>
        <button type="submit" class="button" disabled={!isValid} aria-disabled={isBusy || !isChanged}>{t.value.save}</button>
      </form>
    </details>
  );
}

const textsOf = (limits: Limits) => Object.fromEntries(LIMITS.map((name) => [name, limits[name] === null ? '' : String(limits[name])])) as Record<LimitName, string>;
