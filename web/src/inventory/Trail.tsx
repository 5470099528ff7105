import { Fragment } from 'react'
import { useClusters } from '../api/hooks.ts'
import { idIn } from '../ui/ids.ts'
import { Link } from '../url/Link.tsx'
import styles from './inventory.module.css'

export interface Step {
  name: string
  to?: string
  with?: Record<string, string>
}

/** Where the reader is: what it is in, outermost first. The last one is the page itself. */
export function Trail({ steps }: { steps: readonly Step[] }) {
  return (
    <nav aria-label="Breadcrumbs" className={styles.trail}>
      {steps.map((step, i) => (
        <Fragment key={`${i} ${step.name}`}>
          {i > 0 && <span aria-hidden="true">›</span>}
          {step.to ? <Link to={step.to} with={step.with ?? {}}>{step.name}</Link> : <span aria-current={i === steps.length - 1 ? 'page' : undefined}>{step.name}</span>}
        </Fragment>
      ))}
    </nav>
  )
}

/** The cluster, where there is more than one, and the namespace. `cluster` is its name. */
export function useSpaceSteps(cluster: string, namespace: string): Step[] {
  const clusters = useClusters()
  const steps: Step[] = []
  if (clusters.all.length > 1 && cluster !== '') steps.push({ name: cluster })
  if (namespace !== '') steps.push({ name: namespace, to: '/namespace', with: { id: idIn(cluster, namespace, clusters) } })
  return steps
}
