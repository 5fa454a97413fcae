/** A UUIDv7 (RFC 9562 §5.7): sorts by time, and made here so that a retry is the same message. */
export function newId(now: number = Date.now()): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  let ms = now;
  for (let i = 5; i >= 0; i--) {
    bytes[i] = ms % 256;
    ms = Math.floor(ms / 256);
  }
  bytes[6] = 0x70 | (bytes[6]! & 0x0f);
  bytes[8] = 0x80 | (bytes[8]! & 0x3f);
  const hex = hexOf(bytes);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** W3C Trace Context: an operator who traces finds the request that a click became. It says nothing of who clicked. */
export const traceparent = () => `00-${random(16)}-${random(8)}-01`;

const random = (length: number) => hexOf(crypto.getRandomValues(new Uint8Array(length)));
const hexOf = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
