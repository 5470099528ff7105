// Instants as text, in the reader's own time zone.
const pad = (n: number) => String(n).padStart(2, '0')

/** 2026-11-21 03:25:07 */
export function stamp(seconds: number): string {
  const d = new Date(seconds * 1000)
  return `${day(d)} ${pad(d.getHours())}:${pad(d.getMinutes())}:${pad(d.getSeconds())}`
}

function day(d: Date): string {
  return `${d.getFullYear()}-${pad(d.getMonth() + 1)}-${pad(d.getDate())}`
}

/** The value of an <input type="datetime-local" step="1">. */
export function toInput(seconds: number): string {
  return stamp(seconds).replace(' ', 'T')
}

/** Unix seconds of such an input; null when it is empty or no date. */
export function fromInput(value: string): number | null {
  const ms = Date.parse(value)
  return Number.isNaN(ms) ? null : Math.floor(ms / 1000)
}

/** "03:25:07 – 03:40:07", with the day where the two differ or it is not today. */
export function spanText(from: number, to: number, now: number): string {
  const [a, b, today] = [from, to, now].map((s) => day(new Date(s * 1000)))
  if (a === b) return a === today ? `${stamp(from).slice(11)} – ${stamp(to).slice(11)}` : `${stamp(from)} – ${stamp(to).slice(11)}`
  return `${stamp(from).slice(0, 16)} – ${stamp(to).slice(0, 16)}`
}

export const nowSeconds = () => Math.floor(Date.now() / 1000)
