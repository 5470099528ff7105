// Native histograms as the Prometheus API gives them: count, sum, and buckets with a lower and an upper bound.
import type { Bucket, NativeHistogram } from '../api/prometheus.ts'

export interface Bar {
  lower: number
  upper: number
  count: number
}

/** The buckets as numbers, in order. */
export function bars(h: NativeHistogram): Bar[] {
  const list = (h.buckets ?? []).map(([, lower, upper, count]: Bucket) => ({ lower: Number(lower), upper: Number(upper), count: Number(count) }))
  return list.sort((a, b) => a.lower - b.lower)
}

/**
 * The value below which a share q of the observations lies; null for an empty histogram. Inside a bucket it is interpolated as
 * Prometheus does for exponential buckets, and evenly where a bucket reaches to zero.
 */
export function quantile(h: NativeHistogram, q: number): number | null {
  const list = bars(h)
  const total = list.reduce((sum, b) => sum + b.count, 0)
  if (!(total > 0)) return null
  let below = 0
  const rank = q * total
  for (const { lower, upper, count } of list) {
    if (below + count >= rank && count > 0) {
      const part = (rank - below) / count
      if (lower > 0 && upper > 0) return lower * (upper / lower) ** part
      return lower + (upper - lower) * part
    }
    below += count
  }
  return list.at(-1)?.upper ?? null
}

export function mean(h: NativeHistogram): number | null {
  const count = Number(h.count)
  return count > 0 ? Number(h.sum) / count : null
}

/** What the base unit of a metric's name says about its values. */
export function isSeconds(text: string): boolean {
  return /_seconds\b/.test(text) && !/_seconds_(count|bucket)\b/.test(text)
}
