import type { Health, WorkloadSummary } from '../api/types.ts'

export interface Filter {
  text: string
  kind: string
  namespace: string | null
  health: readonly Health[]
}

/** The filter in the URL: q, kind, ns, health (a list by commas). An empty ns is a namespace of its own: the plain machine. */
export function filterFromParams(params: URLSearchParams): Filter {
  const health = (params.get('health') ?? '').split(',').filter((h): h is Health => ['ok', 'warning', 'critical', 'idle'].includes(h))
  return { text: params.get('q') ?? '', kind: params.get('kind') ?? '', namespace: params.get('ns'), health }
}

/** Every word of the text must occur in the name, namespace, kind or a reason. */
export function matches(w: WorkloadSummary, filter: Filter, withHealth = true): boolean {
  if (filter.kind && w.kind !== filter.kind) return false
  if (filter.namespace !== null && w.namespace !== filter.namespace) return false
  if (withHealth && filter.health.length > 0 && !filter.health.includes(w.health)) return false
  const words = filter.text.toLowerCase().split(/\s+/).filter(Boolean)
  if (words.length === 0) return true
  const hay = `${w.namespace}/${w.name} ${w.kind} ${w.reasons.join(' ')}`.toLowerCase()
  return words.every((word) => hay.includes(word))
}

export interface Totals {
  count: number
  byHealth: Record<Health, number>
  rate: number
  failing: number
}

/** Sums over workloads. Requests between two watched workloads count once: at the serving end. */
export function totalsOf(workloads: readonly WorkloadSummary[]): Totals {
  const totals: Totals = { count: workloads.length, byHealth: { ok: 0, warning: 0, critical: 0, idle: 0 }, rate: 0, failing: 0 }
  for (const w of workloads) {
    totals.byHealth[w.health]++
    totals.rate += w.signals.rate ?? 0
    totals.failing += (w.signals.rate ?? 0) * (w.signals.errorShare ?? 0)
  }
  return totals
}
