/** How often each rail did what in the last 30 days: a plot by day, and the same as tables. */

import { accounts, type VerdictDay } from '../accounts';
import { words } from '../i18n/admin';
import { count } from '../lib/format';
import { locale } from '../lib/i18n';
import { DAYS, firstDay } from '../lib/spending';
import { byDayOf, byRail, PLOTTED } from '../lib/verdicts';
import { Loaded, useLoaded } from './Loaded';

const STEP = 10;
const BAR = 7;
const HEIGHT = 60;

export function AdminVerdicts() {
  const now = new Date();
  const figures = useLoaded(() => accounts.verdicts(firstDay(now), now.toISOString().slice(0, 10)));
  const w = words.value;
  return (
    <Loaded of={figures}>
      {({ data, total }) =>
        data.length === 0 ? (
          <p class="quiet">{w.verdictsNone}</p>
        ) : (
          <>
            <p class="quiet small">{w.verdictsIntro(count(total, locale.value))}</p>
            <Plot data={data} now={now} />
            <Rails data={data} />
          </>
        )
      }
    </Loaded>
  );
}

const dayName = (day: string): string => new Intl.DateTimeFormat(locale.value, { day: 'numeric', month: 'short', timeZone: 'UTC' }).format(new Date(`${day}T00:00:00Z`));
const actionName = (action: string): string => (words.value.actions as Record<string, string>)[action] ?? action;

function Plot({ data, now }: { data: readonly VerdictDay[]; now: Date }) {
  const w = words.value;
  const days = byDayOf(data, now);
  const most = Math.max(1, ...days.map(({ all }) => all));
  return (
    <section>
      <h3>{words.value.byDay}</h3>
      <svg class="plot" viewBox={`0 0 ${DAYS * STEP} ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true" focusable="false">
        {days.map((day, at) => {
          let y = HEIGHT;
          return (
            <g key={day.day}>
              <title>{`${dayName(day.day)}: ${count(day.all, locale.value)}`}</title>
              <rect class="plot-ground" x={at * STEP} y={0} width={STEP} height={HEIGHT} />
              {PLOTTED.map((action) => {
                const height = (day.by[action] / most) * HEIGHT;
                y -= height;
                return height > 0 && <rect key={action} class={`verdict-${action}`} x={at * STEP + (STEP - BAR) / 2} y={y} width={BAR} height={height} />;
              })}
            </g>
          );
        })}
      </svg>
      <p class="plot-foot tabular" aria-hidden="true">
        <span>{dayName(days[0]!.day)}</span>
        <span>{dayName(days.at(-1)!.day)}</span>
      </p>
      <ul class="legend tabular">{PLOTTED.map((action) => <li key={action} class={`verdict-${action}`}>{actionName(action)}</li>)}</ul>
      <details class="usage-table">
        <summary>{words.value.asTable}</summary>
        <table class="tabular">
          <caption class="sr-only">{words.value.byDay}</caption>
          <thead><tr><th scope="col">{words.value.day}</th>{PLOTTED.map((action) => <th key={action} scope="col">{actionName(action)}</th>)}</tr></thead>
          <tbody>
            {days.filter(({ all }) => all > 0).reverse().map((day) => (
              <tr key={day.day}><th scope="row">{dayName(day.day)}</th>{PLOTTED.map((action) => <td key={action}>{count(day.by[action], locale.value)}</td>)}</tr>
            ))}
          </tbody>
        </table>
      </details>
      <p class="sr-only">{w.verdictsIntro(count(days.reduce((sum, { all }) => sum + all, 0), locale.value))}</p>
    </section>
  );
}

function Rails({ data }: { data: readonly VerdictDay[] }) {
  const w = words.value;
  return (
    <section>
      <h3>{w.byRail}</h3>
      <table class="tabular words">
        <caption class="sr-only">{w.byRail}</caption>
        <thead><tr><th scope="col">{w.rail}</th><th scope="col">{w.stage}</th><th scope="col">{w.action}</th><th scope="col">{w.times}</th></tr></thead>
        <tbody>
          {byRail(data).map((row) => (
            <tr key={`${row.rail} ${row.stage} ${row.action}`}>
              <th scope="row">{row.rail}</th>
              <td>{row.stage === 'input' ? w.stageInput : row.stage === 'output' ? w.stageOutput : row.stage}</td>
              <td>{actionName(row.action)}</td>
              <td>{count(row.count, locale.value)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
