/** One answer on the page: text in, nodes out. */

import { patch, type Painters } from './dom';
import { painters, type CodeLabels } from './paint';
import { Growing } from './parse';
import type { Spec } from './spec';
import type { Labels } from './write';

export type ProseLabels = Labels & CodeLabels;

export class Prose {
  private readonly growing: Growing;
  private readonly painters: Painters;
  private specs: Spec[] = [];
  private isGrowing = false;

  constructor(
    private readonly root: Element,
    labels: ProseLabels,
    passages?: () => ReadonlySet<number>,
  ) {
    this.growing = new Growing(labels, passages);
    this.painters = painters(labels, () => this.isGrowing);
  }

  /** Shows a text that may still grow. */
  write(text: string): void {
    this.isGrowing = true;
    this.show(this.growing.update(text));
  }

  /** Shows the whole text. The result is the same whatever was written before. */
  finish(text: string): void {
    const wasGrowing = this.isGrowing;
    const specs = this.growing.finish(text);
    // An answer that ends on the screen is coloured at once; one that is opened later waits until it is near.
    this.isGrowing = wasGrowing;
    this.show(specs);
    this.isGrowing = false;
  }

  private show(specs: Spec[]): void {
    patch(this.root, this.specs, specs, this.painters);
    this.specs = specs;
  }
}
