/** What everybody, a group or one user may use; an empty field says from where its limit is taken instead. */

import { useState } from 'preact/hooks';
import { accounts, LIMITS, type AllLimits, type LimitName, type Limits, type Used } from '../accounts';
import { words as account } from '../i18n/account';
import { words } from '../i18n/admin';
import { part } from '../api';
import { amount, typed } from '../lib/limits';
import { locale, t } from '../lib/i18n';
import { Loaded, Refusal, useChange, useLoaded } from './Loaded';

const NONE = Object.fromEntries(LIMITS.map((name) => [name, null])) as Limits;

export function AdminLimits() {
  const all = useLoaded(accounts.limits);
  const [added, setAdded] = useState<readonly string[]>([]);
  const [kind, setKind] = useState<'groups' | 'users'>('groups');
  const [name, setName] = useState('');
  const w = words.value;
  return (
    <Loaded of={all}>
      {(limits) => {
        const groups = limits.groups.map(({ name: group, limits: own }) => ({ whom: `groups/${part(group)}`, title: w.ofGroup(group), own, used: {} as Used }));
        const users = limits.users.map(({ id, name: user, limits: own, used }) => ({ whom: `users/${part(id)}`, title: user ?? id, own, used }));
        const known = [...groups, ...users];
        const extra = added.filter((whom) => !known.some((one) => one.whom === whom)).map((whom) => ({ whom, title: decodeURIComponent(whom.slice(whom.indexOf('/') + 1)), own: NONE, used: {} as Used }));
        return (
          <>
            <p class="quiet small">{w.limitsIntro}</p>
            <Fields whom="house" title={w.house} own={limits.house.limits} used={limits.house.used} below={null} put={all.put} />
            {[...known, ...extra].map((one) => <Fields key={one.whom} {...one} below={limits.defaults} put={all.put} />)}
            <form
              class="form"
              onSubmit={(event) => {
                event.preventDefault();
                setAdded([...added, `${kind}/${part(name.trim())}`]);
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
              <label>
                {kind === 'groups' ? w.group : w.userId}
                <input required value={name} maxLength={64} autocomplete="off" spellcheck={false} onInput={(event) => setName(event.currentTarget.value)} />
              </label>
              <button type="submit" class="button" disabled={name.trim() === ''}>{w.addLimits}</button>
            </form>
          </>
        );
      }}
    </Loaded>
  );
}

interface FieldsProps {
  whom: string;
  title: string;
  own: Limits;
  used: Used;
  /** What holds where nothing is said; null: nothing does. */
  below: Limits | null;
  put: (all: AllLimits) => void;
}

function Fields({ whom, title, own, used, below, put }: FieldsProps) {
  const [texts, setTexts] = useState<Record<LimitName, string>>(() => textsOf(own));
  const [isSaved, setSaved] = useState(false);
  const { isBusy, problem, run } = useChange();
  const w = words.value;
  const values = Object.fromEntries(LIMITS.map((name) => [name, typed(name, texts[name])])) as Record<LimitName, number | null | undefined>;
  const isValid = LIMITS.every((name) => values[name] !== undefined);
  const isChanged = LIMITS.some((name) => values[name] !== own[name]);
  const save = async (event: SubmitEvent) => {
    event.preventDefault();
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
    <details class="limits" open={whom === 'house'}>
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
        <button type="submit" class="button" disabled={isBusy || !isValid || !isChanged}>{t.value.save}</button>
      </form>
    </details>
  );
}

const textsOf = (limits: Limits) => Object.fromEntries(LIMITS.map((name) => [name, limits[name] === null ? '' : String(limits[name])])) as Record<LimitName, string>;
