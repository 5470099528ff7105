// The order of a table as one URL parameter: "rate" ascending, "-rate" descending.
export type SortValue = string | number | null | undefined

interface Sort {
  id: string
  desc: boolean
}

export function parseSort(text: string | null, columns: readonly { id: string; value?: unknown }[]): Sort[] {
  if (!text) return []
  const desc = text.startsWith('-')
  const id = desc ? text.slice(1) : text
  return columns.some((c) => c.id === id && c.value !== undefined) ? [{ id, desc }] : []
}

export function printSort(sorting: readonly Sort[]): string | null {
  const first = sorting[0]
  return first ? (first.desc ? '-' : '') + first.id : null
}

/** Numbers by size, everything else by letters with numbers in them by size. */
export function compareCells(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b
  return String(a).localeCompare(String(b), 'en', { numeric: true })
}
