/** What one chat's answers are made with: the system prompt, and how they are sampled. */

import { patchChat } from '../chats';
import { words } from '../i18n/tuning';
import { tune, tuningOf, type Tuning as Values } from '../lib/tuning';
import { chat, openId } from '../store';
import '../style/tuning.css';
import { Dialog } from './Dialogs';
import { SelfSaving } from './SelfSaving';

export function Tuning() {
  const w = words.value;
  const id = openId.value;
  const values = tuningOf(id);
  const set = (change: Values) => tune(id, { ...tuningOf(id), ...change });
  const isDefault = values.temperature === undefined && values.top_p === undefined && values.max_tokens === undefined;
  return (
    <Dialog title={w.title} class="tuning">
      <p class="quiet small">{w.intro}</p>
      <SystemPrompt />
      <Slider name="temperature" label={w.temperature} note={w.temperatureNote} value={values.temperature} first={0.7} max={2} step={0.1} set={(temperature) => set({ temperature })} />
      <Slider name="top-p" label={w.topP} note={w.topPNote} value={values.top_p} first={0.9} min={0.05} max={1} step={0.05} set={(top_p) => set({ top_p })} />
      <div class="setting">
        <label for="max-tokens">{w.most}</label>
        <p class="quiet small" id="max-tokens-note">{w.mostNote}</p>
        <input
          id="max-tokens"
          class="tuning-number"
          type="number"
          min={1}
          max={1_000_000}
          inputMode="numeric"
          placeholder={w.default}
          aria-describedby="max-tokens-note"
          value={values.max_tokens ?? ''}
          onInput={(event) => {
            const n = event.currentTarget.valueAsNumber;
            set({ max_tokens: Number.isInteger(n) && n >= 1 && n <= 1_000_000 ? n : undefined });
          }}
        />
      </div>
      <footer>
        <span />
        <button type="button" class="text-button" disabled={isDefault} onClick={() => tune(id, { system_prompt: values.system_prompt })}>{w.reset}</button>
      </footer>
    </Dialog>
  );
}

interface SliderProps {
  name: string;
  label: string;
  note: string;
  value: number | undefined;
  /** Where it starts when it is first moved away from the default. */
  first: number;
  min?: number;
  max: number;
  step: number;
  set: (value: number | undefined) => void;
}

function Slider({ name, label, note, value, first, min = 0, max, step, set }: SliderProps) {
  return (
    <div class="setting">
      <div class="tuning-head">
        <label for={name}>{label}</label>
        <button type="button" class="text-button tabular" disabled={value === undefined} aria-label={`${label}: ${words.value.default}`} onClick={() => set(undefined)}>
          {value === undefined ? words.value.default : value.toFixed(step < 0.1 ? 2 : 1)}
        </button>
      </div>
      <p class="quiet small" id={`${name}-note`}>{note}</p>
      <input
        id={name}
        class={value === undefined ? 'unset' : undefined}
        type="range"
        min={min}
        max={max}
        step={step}
        value={value ?? first}
        aria-describedby={`${name}-note`}
        aria-valuetext={value === undefined ? words.value.default : undefined}
        onInput={(event) => set(event.currentTarget.valueAsNumber)}
      />
    </div>
  );
}

/** Saved as it is written: on the server where the chat is known there, with the chat's settings before that. */
function SystemPrompt() {
  const w = words.value;
  const made = chat.value;
  const save = async (text: string) => {
    const one = chat.peek();
    if (one) return patchChat(one.id, { system_prompt: text.trim() === '' ? null : text });
    tune(openId.peek(), { ...tuningOf(openId.peek()), system_prompt: text });
    return false;
  };
  const first = (made ? made.system_prompt : tuningOf(openId.peek()).system_prompt) ?? '';
  return <SelfSaving id="system-prompt" label={w.system} note={w.systemNote} hint={w.systemHint} saved={w.saved} first={first} save={save} />;
}
