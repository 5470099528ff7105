// Numbers as a reader on call wants them: three significant digits, unit close by, "–" for what is not known (never 0).
export const UNKNOWN = '–'

type Maybe = number | null | undefined

function known(v: Maybe): v is number {
  return v !== null && v !== undefined && Number.isFinite(v)
}

/** Three significant digits without an exponent: 0.00123, 1.23, 12.3, 123. */
export function significant(v: number): string {
  if (v === 0) return '0'
  const size = Math.abs(v)
  if (size >= 100) return v.toFixed(0)
  const digits = size >= 10 ? 1 : size >= 1 ? 2 : Math.min(8, 2 - Math.floor(Math.log10(size)))
  return trimZeros(v.toFixed(digits))
}

function trimZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text
}

function scaled(v: number, base: number, units: readonly string[]): string {
  let value = v
  let i = 0
  while (Math.abs(value) >= base * 0.9995 && i < units.length - 1) {
    value /= base
    i++
  }
  return `${significant(value)}${units[i] ?? ''}`
}

/** 1,234,567 as 1.23M. */
export function compact(v: Maybe): string {
  return known(v) ? scaled(v, 1000, ['', 'k', 'M', 'G', 'T']) : UNKNOWN
}

/** Requests (or connections) a second. */
export function rate(v: Maybe): string {
  if (!known(v)) return UNKNOWN
  if (v > 0 && v < 0.01) return '<0.01/s'
  return `${compact(v < 1 ? Math.round(v * 100) / 100 : v)}/s`
}

/** A share from 0 to 1 as per cent. A share above 0 never reads as 0. */
export function percent(v: Maybe): string {
  if (!known(v)) return UNKNOWN
  if (v === 0) return '0 %'
  const p = v * 100
  if (p < 0.01) return '<0.01 %'
  if (p < 1) return `${trimZeros(p.toFixed(2))} %`
  return `${p >= 99.95 && p < 100 ? '99.9' : significant(p)} %`
}

/** Seconds as ns, µs, ms, s, min or h. */
export function duration(v: Maybe): string {
  if (!known(v)) return UNKNOWN
  const size = Math.abs(v)
  if (size === 0) return '0 s'
  if (size < 1e-6) return `${significant(v * 1e9)} ns`
  if (size < 1e-3) return `${significant(v * 1e6)} µs`
  if (size < 1) return `${significant(v * 1e3)} ms`
  if (size < 120) return `${significant(v)} s`
  if (size < 7200) return `${significant(v / 60)} min`
  return `${significant(v / 3600)} h`
}

/** Processor cores: 0.25, 1.5, 64. */
export function cores(v: Maybe): string {
  if (!known(v)) return UNKNOWN
  return v > 0 && v < 0.001 ? '<0.001' : significant(Math.round(v * 1000) / 1000)
}

/** How long ago a time was: 12 min, 3 h, 5 d. */
export function age(stamp: string | null, now: number): string {
  if (stamp === null) return UNKNOWN
  const seconds = Math.max(0, now - Date.parse(stamp) / 1000)
  if (seconds < 120) return `${Math.round(seconds)} s`
  if (seconds < 7200) return `${Math.round(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`
  return `${Math.round(seconds / 86_400)} d`
}

/** Bytes in binary units. */
export function bytes(v: Maybe): string {
  if (!known(v)) return UNKNOWN
  return scaled(v, 1024, [' B', ' KiB', ' MiB', ' GiB', ' TiB'])
}

export function byteRate(v: Maybe): string {
  return known(v) ? `${bytes(v)}/s` : UNKNOWN
}

/** A number in full, as a query's answer. */
export function exact(text: string): string {
  const v = Number(text)
  if (!Number.isFinite(v)) return text
  return Number.isInteger(v) && Math.abs(v) < 1e15 ? v.toLocaleString('en-US') : String(v)
}
