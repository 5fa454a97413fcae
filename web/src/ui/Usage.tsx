/** What the reader's own answers have used and cost: the sum, by day, by model. */

import { useEffect, useState } from 'preact/hooks';
import { loadProfile, loadUsage } from '../actions';
import { words as own } from '../i18n/usage';
import { count, duration, money } from '../lib/format';
import { locale, t } from '../lib/i18n';
import { byDay, byModel, DAYS, firstDay, sumOfParts, tokensOf, type Day, type Parts } from '../lib/spending';
import { modelName } from '../store';
import '../style/usage.css';
import type { Problem, Spent, UsageReport } from '../wire';
import { Dialog } from './Dialogs';
import { Note, problemText } from './Notices';
import { Plan } from './Plan';

export function Usage() {
  const [report, setReport] = useState<UsageReport | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const load = async () => {
    setProblem(null);
    const answer = await loadUsage(firstDay(new Date()));
    if ('report' in answer) setReport(answer.report);
    else setProblem(answer.problem);
  };
  useEffect(() => {
    void loadProfile(); // what is left of the limits
    void load();
  }, []);
  const words = t.value;
  return (
    <Dialog title={words.usage} class="usage">
      <Plan />
      {problem ? (
        <Note
          tone="error"
          title={own.value.failed}
          actions={<button type="button" class="note-button" onClick={() => void load()}>{words.retry}</button>}
        >
          <p>{problemText(problem)}</p>
        </Note>
      ) : report === null ? (
        <p class="usage-none quiet" role="status">{own.value.loading}</p>
      ) : report.data.length === 0 ? (
        <div class="usage-none">
          <p class="usage-none-title">{own.value.empty}</p>
          <p class="quiet small">{own.value.emptyNote}</p>
        </div>
      ) : (
        <Report report={report} />
      )}
    </Dialog>
  );
}

const about = (spent: Spent): string =>
  spent.is_estimate && spent.cost_usd > 0 ? t.value.factAbout(money(spent.cost_usd)) : money(spent.cost_usd);
const seconds = (s: number): string => (s > 0 ? duration(s * 1000, locale.value) : '–');
const compact = (n: number): string => new Intl.NumberFormat(locale.value, { notation: 'compact', maximumFractionDigits: 1 }).format(n);
const dayName = (day: string, long = false): string =>
  new Intl.DateTimeFormat(locale.value, { day: 'numeric', month: 'short', year: long ? 'numeric' : undefined, timeZone: 'UTC' }).format(
    new Date(`${day}T00:00:00Z`),
  );

function Report({ report }: { report: UsageReport }) {
  const { data, total } = report;
  const isPaid = total.cost_usd > 0;
  const tiles = [
    [own.value.cost, about(total)],
    [own.value.runs, count(total.runs, locale.value)],
    [own.value.tokens, compact(tokensOf(total))],
    [own.value.gpu, seconds(total.gpu_seconds)],
  ] as const;
  return (
    <>
      <section aria-label={own.value.intro}>
        <p class="quiet small">{own.value.intro}</p>
        <dl class="tiles tabular">
          {tiles.map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
        </dl>
      </section>
      <Days days={byDay(data, new Date())} parts={isPaid ? sumOfParts(data) : null} />
      <Models report={report} />
      <p class="usage-small quiet">
        {isPaid ? own.value.prices(dayName(report.prices_as_of.slice(0, 10), true)) : own.value.free}
        {isPaid && total.is_estimate && ` ${own.value.estimate}`}
      </p>
    </>
  );
}

const PARTS = [
  ['active', 'active_seconds'],
  ['coldStart', 'cold_start_seconds'],
  ['idle', 'idle_seconds'],
] as const satisfies readonly (readonly [keyof Parts, string])[];

const STEP = 10;
const BAR = 7;
const HEIGHT = 60;
/** A day with any use is seen, however dear another one was. */
const LEAST = 1.5;

/** Money in three layers where money was spent; tokens in one where the hardware is our own. */
function Days({ days, parts }: { days: readonly Day[]; parts: Parts | null }) {
  const words = t.value;
  const valueOf = (day: Day) => (parts ? day.cost_usd : tokensOf(day));
  const shown = (day: Day) => (parts ? about(day) : words.factTokens(count(tokensOf(day), locale.value)));
  const top = days.reduce((a, b) => (valueOf(b) > valueOf(a) ? b : a));
  const most = valueOf(top) || 1;
  const whole = parts ? parts.active + parts.coldStart + parts.idle : 0;
  const share = (part: number) => new Intl.NumberFormat(locale.value, { style: 'percent' }).format(whole > 0 ? part / whole : 0);
  const labels = { active: own.value.active, coldStart: own.value.coldStart, idle: own.value.idle };
  return (
    <section>
      <h3>{own.value.byDay}</h3>
      <svg class="plot" viewBox={`0 0 ${DAYS * STEP} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
        {days.map((day, at) => (
          <g key={day.day}>
            <title>{`${dayName(day.day)}: ${shown(day)}`}</title>
            <rect class="plot-ground" x={at * STEP} y={0} width={STEP} height={HEIGHT} />
            <Bar day={day} x={at * STEP + (STEP - BAR) / 2} height={(valueOf(day) / most) * HEIGHT} isSplit={parts !== null} />
          </g>
        ))}
      </svg>
      <p class="plot-foot tabular" aria-hidden="true">
        <span>{dayName(days[0]!.day)}</span>
        <span>{own.value.top(dayName(top.day), shown(top))}</span>
        <span>{dayName(days.at(-1)!.day)}</span>
      </p>
      {parts && (
        <ul class="legend tabular">
          {PARTS.map(([part, name]) => <li key={part} class={name}>{labels[part](share(parts[part]))}</li>)}
        </ul>
      )}
      <details class="usage-table">
        <summary>{own.value.asTable}</summary>
        <Table
          caption={own.value.byDay}
          first={own.value.day}
          rows={days.filter((day) => day.runs > 0 || day.cost_usd > 0).reverse().map((day) => ({ name: dayName(day.day), spent: day }))}
        />
      </details>
    </section>
  );
}

function Bar({ day, x, height, isSplit }: { day: Day; x: number; height: number; isSplit: boolean }) {
  if (height === 0) return null;
  const full = Math.max(LEAST, height);
  if (!isSplit) return <rect class="active_seconds" x={x} y={HEIGHT - full} width={BAR} height={full} />;
  const whole = day.parts.active + day.parts.coldStart + day.parts.idle;
  let y = HEIGHT;
  return (
    <>
      {PARTS.map(([part, name]) => {
        const own = (day.parts[part] / whole) * full;
        y -= own;
        return own > 0 ? <rect key={part} class={name} x={x} y={y} width={BAR} height={own} /> : null;
      })}
    </>
  );
}

function Models({ report }: { report: UsageReport }) {
  const words = t.value;
  return (
    <section>
      <h3>{own.value.byModel}</h3>
      <Table
        caption={own.value.byModel}
        first={words.model}
        rows={byModel(report.data).map((spent) => ({ name: modelName(spent.model) ?? spent.model, spent }))}
      />
    </section>
  );
}

interface TableProps {
  caption: string;
  first: string;
  rows: readonly { name: string; spent: Spent }[];
}

function Table({ caption, first, rows }: TableProps) {
  return (
    <table class="tabular">
      <caption class="sr-only">{caption}</caption>
      <thead>
        <tr>
          <th scope="col">{first}</th>
          <th scope="col">{own.value.runs}</th>
          <th scope="col">{own.value.tokens}</th>
          <th scope="col">{own.value.gpu}</th>
          <th scope="col">{own.value.cost}</th>
        </tr>
      </thead>
      <tbody>
        {rows.map(({ name, spent }) => (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{count(spent.runs, locale.value)}</td>
            <td>{compact(tokensOf(spent))}</td>
            <td>{seconds(spent.gpu_seconds)}</td>
            <td>{about(spent)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
