/**
 * A reader of `text/event-stream` (WHATWG HTML §9.2.6) for bytes that arrive cut anywhere.
 *
 * Pure: bytes in, events out. It knows nothing of fetch, of runs or of the DOM.
 */

export interface SseEvent {
  /** The last `id:` seen so far, as the standard has it: it stays until a new one comes. */
  id: string;
  event: string;
  data: string;
}

export class SseParser {
  // A streaming decoder holds back a character that is cut in two, and drops one leading BOM.
  private readonly decoder = new TextDecoder('utf-8');
  private rest = '';
  private skipLineFeed = false;
  private id = '';
  private event = '';
  private data: string[] = [];

  push(bytes: Uint8Array): SseEvent[] {
    let text = this.decoder.decode(bytes, { stream: true });
    if (this.skipLineFeed && text.length > 0) {
      // The last chunk ended in CR: this LF belongs to the same line end.
      if (text.startsWith('\n')) text = text.slice(1);
      this.skipLineFeed = false;
    }
    const events: SseEvent[] = [];
    const buffer = this.rest + text;
    let start = 0;
    // Only CR, LF and CRLF end a line here. U+2028 and friends are text, which `split(/\R/)`-like helpers get wrong.
    for (let i = this.rest.length; i < buffer.length; i++) {
      const code = buffer.charCodeAt(i);
      if (code !== 10 && code !== 13) continue;
      this.line(buffer.slice(start, i), events);
      if (code === 13) {
        if (i + 1 === buffer.length) this.skipLineFeed = true;
        else if (buffer.charCodeAt(i + 1) === 10) i++;
      }
      start = i + 1;
    }
    this.rest = buffer.slice(start);
    return events;
  }

  private line(line: string, out: SseEvent[]): void {
    if (line === '') {
      if (this.data.length > 0) out.push({ id: this.id, event: this.event || 'message', data: this.data.join('\n') });
      this.event = '';
      this.data = [];
      return;
    }
    if (line.startsWith(':')) return;
    const colon = line.indexOf(':');
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') this.data.push(value);
    else if (field === 'event') this.event = value;
    else if (field === 'id' && !value.includes('\0')) this.id = value;
    // `retry` is the browser's EventSource knob; our back-off is our own.
  }
}

/** Decodes a response body. Ends when the body ends; leaving the loop early closes the connection. */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  onBytes: () => void = () => {},
): AsyncGenerator<SseEvent[], void, void> {
  const reader = body.getReader();
  const parser = new SseParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onBytes();
      const events = parser.push(value);
      if (events.length > 0) yield events;
    }
  } finally {
    reader.cancel().catch(() => {
      // The connection is gone already, which is what we wanted.
    });
  }
}
