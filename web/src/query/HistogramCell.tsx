import { memo } from 'react'
import type { NativeHistogram } from '../api/prometheus.ts'
import { compact, duration, significant } from '../format/number.ts'
import { bars, mean, quantile } from './histogram.ts'
import styles from './QueryPage.module.css'

const WIDTH = 190
const HEIGHT = 44
const QUANTILES = [0.5, 0.95, 0.99]

/** A native histogram as its buckets on a logarithmic axis, with count, mean and quantiles in words. */
export const HistogramCell = memo(function HistogramCell({ histogram, seconds }: { histogram: NativeHistogram; seconds: boolean }) {
  const unit = (v: number | null) => (v === null ? '–' : seconds ? duration(v) : significant(v))
  const list = bars(histogram).filter((b) => b.count > 0)
  const top = Math.max(...list.map((b) => b.count), 1)
  const step = WIDTH / Math.max(8, list.length)
  return (
    <span className={styles.histogram}>
      <span className={styles.quantiles}>
        <span>{Number(histogram.count) === 1 ? '1 observation' : `${compact(Number(histogram.count))} observations`}, mean {unit(mean(histogram))}</span>
        <span>{QUANTILES.map((q) => <span key={q}><small>p{q * 100}</small> {unit(quantile(histogram, q))}</span>)}</span>
      </span>
      <svg width={WIDTH} height={HEIGHT} role="img" aria-label={`${list.length} buckets from ${unit(list[0]?.lower ?? null)} to ${unit(list.at(-1)?.upper ?? null)}`}>
        {list.map((b, i) => (
          <rect key={i} x={i * step} width={Math.max(1, step - 1)} y={HEIGHT - (b.count / top) * HEIGHT} height={(b.count / top) * HEIGHT} fill="var(--accent)">
            <title>{`${unit(b.lower)} to ${unit(b.upper)}: ${compact(b.count)}`}</title>
          </rect>
        ))}
      </svg>
    </span>
  )
})
