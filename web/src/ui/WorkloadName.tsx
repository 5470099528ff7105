import { useClusters } from '../api/hooks.ts'
import { Link } from '../url/Link.tsx'
import { inSpace, splitId } from './ids.ts'
import styles from './WorkloadName.module.css'

/** The name as a link to the workload's page, its kind and namespace beside it, and the cluster where there is more than one. */
export function WorkloadName({ id }: { id: string }) {
  const clusters = useClusters()
  const { kind, name } = splitId(id)
  const space = inSpace(splitId(id), clusters)
  return (
    <span className={styles.name}>
      <Link to="/workload" with={{ id }} title={name}>{name}</Link>
      <small>{space ? `${kind} in ${space}` : kind}</small>
    </span>
  )
}
