import { type ColumnDef, createSortedRowModel, rowSortingFeature, type SortingState, tableFeatures, useTable } from '@tanstack/react-table'
import { useVirtualizer } from '@tanstack/react-virtual'
import { type ReactNode, useMemo, useRef } from 'react'
import { useUrlState } from '../url/location.ts'
import styles from './DataTable.module.css'
import { compareCells, parseSort, printSort, type SortValue } from './sorting.ts'

export interface Column<Row> {
  id: string
  header: string
  /** The header is for screen readers only, where the column is too narrow for it. */
  headerHidden?: boolean
  /** Explains the header. */
  title?: string
  /** What to sort by; null sorts last in both directions. A column without it cannot be sorted. */
  value?: (row: Row) => SortValue
  cell: (row: Row) => ReactNode
  numeric?: boolean
  /** A CSS width. One column at least should have none, and takes the rest. */
  width?: string
}

interface Props<Row> {
  label: string
  columns: readonly Column<Row>[]
  rows: readonly Row[]
  rowKey: (row: Row) => string
  /** Name of the URL parameter that holds the order. Without an order the rows stay as given. */
  sortParam: string
  rowHeight?: number
  /** CSS height of the scrolling box; its content's height up to `maxHeight` without it. */
  height?: string
  maxHeight?: string
  minWidth?: string
}

const features = tableFeatures({ rowSortingFeature, sortedRowModel: createSortedRowModel() })

/** A table with sortable columns that draws only the rows in sight, so thousands are no burden. */
export function DataTable<Row extends object>(props: Props<Row>) {
  const { label, columns, rows, rowKey, sortParam, rowHeight = 32, height, maxHeight = '24rem', minWidth } = props
  const { params, set } = useUrlState()
  const sorting = useMemo(() => parseSort(params.get(sortParam), columns), [params, sortParam, columns])
  const defs = useMemo(() => columns.map(toDef), [columns])
  const table = useTable({
    features,
    columns: defs,
    data: rows as Row[],
    getRowId: rowKey,
    state: { sorting },
    onSortingChange: (updater) => {
      const next: SortingState = typeof updater === 'function' ? updater(sorting) : updater
      set({ [sortParam]: printSort(next) }, { replace: true })
    },
  })
  const sorted = table.getRowModel().rows
  const box = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count: sorted.length,
    getScrollElement: () => box.current,
    estimateSize: () => rowHeight,
    overscan: 8,
    initialRect: { width: 0, height: 800 },
  })
  const items = virtual.getVirtualItems()
  const before = items[0]?.start ?? 0
  const after = virtual.getTotalSize() - (items.at(-1)?.end ?? 0)
  return (
    <div ref={box} className={styles.box} style={{ height, maxHeight: height ? undefined : maxHeight }} tabIndex={0} role="region" aria-label={label}>
      <table className={styles.table} aria-rowcount={sorted.length + 1} style={{ minWidth }}>
        <colgroup>{columns.map((c) => <col key={c.id} style={{ width: c.width }} />)}</colgroup>
        <thead>
          <tr>
            {table.getHeaderGroups()[0]?.headers.map((header, i) => (
              <Head key={header.id} column={columns[i]!} sorted={header.column.getIsSorted()} toggle={() => header.column.toggleSorting()} />
            ))}
          </tr>
        </thead>
        <tbody>
          {before > 0 && <tr aria-hidden="true"><td colSpan={columns.length} style={{ height: before, padding: 0 }} /></tr>}
          {items.map((item) => {
            const row = sorted[item.index]!
            return (
              <tr key={row.id} aria-rowindex={item.index + 2} style={{ height: rowHeight }}>
                {columns.map((c) => <td key={c.id} data-numeric={c.numeric}>{c.cell(row.original)}</td>)}
              </tr>
            )
          })}
          {after > 0 && <tr aria-hidden="true"><td colSpan={columns.length} style={{ height: after, padding: 0 }} /></tr>}
        </tbody>
      </table>
    </div>
  )
}

function toDef<Row extends object>(column: Column<Row>): ColumnDef<typeof features, Row> {
  return {
    id: column.id,
    header: column.header,
    accessorFn: (row: Row) => column.value?.(row) ?? undefined,
    enableSorting: column.value !== undefined,
    sortUndefined: 'last',
    sortDescFirst: column.numeric === true,
    sortFn: (a, b, id) => compareCells(a.getValue(id), b.getValue(id)),
  }
}

interface HeadProps<Row> {
  column: Column<Row>
  sorted: false | 'asc' | 'desc'
  toggle: () => void
}

function Head<Row>({ column, sorted, toggle }: HeadProps<Row>) {
  const order = sorted === 'asc' ? 'ascending' : sorted === 'desc' ? 'descending' : undefined
  return (
    <th scope="col" aria-sort={order} data-numeric={column.numeric} title={column.title}>
      {column.value === undefined ? column.header : (
        <button type="button" onClick={toggle}>
          <span className={column.headerHidden ? 'sr-only' : undefined}>{column.header}</span>
          <span aria-hidden="true" className={styles.arrow}>{sorted === 'asc' ? '▲' : sorted === 'desc' ? '▼' : column.headerHidden ? '◆' : ''}</span>
        </button>
      )}
    </th>
  )
}
