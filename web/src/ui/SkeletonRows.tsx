import { Skeleton } from '@mantine/core'

/** Stands in for a table while it loads, row by row as high as the real ones, so that nothing jumps. */
export function SkeletonRows({ rows, height }: { rows: number; height: number }) {
  return (
    <div role="status" aria-label="Loading" style={{ padding: '28px 0.75rem 0' }}>
      {Array.from({ length: rows }, (_, i) => (
        <div key={i} style={{ height, display: 'flex', alignItems: 'center' }}>
          <Skeleton height={12} width={`${92 - ((i * 13) % 30)}%`} />
        </div>
      ))}
    </div>
  )
}
