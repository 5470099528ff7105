import { useMemo } from 'react'
import type { Series } from '../api/types.ts'
import type { Mark } from '../chart/options.ts'
import { TimeChart } from '../chart/TimeChart.tsx'
import { byteRate, bytes, compact, cores } from '../format/number.ts'
import { Panel } from '../ui/Panel.tsx'
import { flowLines, linesOf, restartLines } from './resources.ts'
import styles from './inventory.module.css'

/** Processor, memory, disks and network, and restarts where there were any, side by side with one cursor, and what happened as lines across them. `leave` names lines that would mislead. */
export function UsageCharts({ charts, marks, leave = [] }: { charts: Record<string, Series>; marks: readonly Mark[]; leave?: readonly string[] }) {
  const cpu = useMemo(() => linesOf(charts, 'cpu', leave.filter((l) => l.startsWith('cpu')).map((l) => l.slice(3))), [charts, leave])
  const memory = useMemo(() => linesOf(charts, 'memory', leave.filter((l) => l.startsWith('memory')).map((l) => l.slice(6))), [charts, leave])
  const flow = useMemo(() => flowLines(charts), [charts])
  const restarts = useMemo(() => restartLines(charts), [charts])
  if (cpu.lines.length + memory.lines.length + flow.lines.length + restarts.lines.length === 0) return null
  return (
    <div className={styles.two}>
      <Panel title="Processor, cores"><TimeChart label="Processor cores" {...cpu} format={cores} marks={marks} /></Panel>
      <Panel title="Memory"><TimeChart label="Memory" {...memory} format={bytes} marks={marks} /></Panel>
      {flow.lines.length > 0 && <Panel title="Network and disks"><TimeChart label="Bytes a second over the network and to disks" {...flow} format={byteRate} marks={marks} /></Panel>}
      {restarts.lines.length > 0 && <Panel title="Restarts"><TimeChart label="Restarts, ever" {...restarts} format={compact} marks={marks} /></Panel>}
    </div>
  )
}
