import type { Resource } from '../api/types.ts'
import { percent } from '../format/number.ts'
import styles from './inventory.module.css'
import { boundOf, inWords, shareOf } from './resources.ts'

const WIDTH = 46

/** Use as a figure and a bar against what bounds it; the words say which. */
export function UseCell({ resource, of, format }: { resource: Resource; of: 'node' | 'pod'; format: (v: number | null) => string }) {
  const share = shareOf(resource, of)
  const bound = boundOf(resource, of)
  const color = (share ?? 0) >= 0.9 && bound?.word !== 'of request' ? 'var(--critical)' : 'var(--series-0)'
  return (
    <span className={styles.use} title={inWords(resource, format)}>
      {share !== null && (
        <svg width={WIDTH} height="8" viewBox={`0 0 ${WIDTH} 8`} aria-hidden="true">
          <rect width={WIDTH} height="8" rx="2" fill="var(--line)" />
          <rect width={Math.max(1, Math.min(1, share) * WIDTH)} height="8" rx="2" fill={color} />
        </svg>
      )}
      <span>{format(resource.used)}</span>
      <small>{share !== null ? percent(share) : bound === null ? 'no bound' : ''}</small>
    </span>
  )
}
