/** When typing may wake a model: once per chat while the model sleeps, and again when it has been awake since. Pure. */

import type { ModelInfo } from './wire';

export class Prewarm {
  /** Model → the chats it was asked for since it fell asleep; the empty name is the chat that has none yet. */
  private readonly asked = new Map<string, Set<string>>();

  /** True at most once per chat and sleep, and never for a model that is awake, waking, away or a demo. */
  isDue(chat: string | null, model: ModelInfo): boolean {
    if (model.state !== 'cold' || model.demo) return false;
    const chats = this.asked.get(model.id) ?? new Set();
    if (chats.has(chat ?? '')) return false;
    this.asked.set(model.id, chats.add(chat ?? ''));
    return true;
  }

  /** The models as the server sees them now: one that does not sleep has left its sleep behind. */
  see(models: readonly ModelInfo[]): void {
    for (const { id, state } of models) if (state !== 'cold') this.asked.delete(id);
  }
}
