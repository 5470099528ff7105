import { Link } from '../url/Link.tsx'
import styles from './WorkloadName.module.css'

interface Props {
  id: string
  namespace: string
  kind: string
  name: string
}

/** The name as a link to the workload's page, its kind and namespace beside it. */
export function WorkloadName({ id, namespace, kind, name }: Props) {
  return (
    <span className={styles.name}>
      <Link to="/workload" with={{ id }} title={name}>{name}</Link>
      <small>{namespace ? `${kind} in ${namespace}` : kind}</small>
    </span>
  )
}

/** namespace, kind and name of an id as model.Workload.ID writes it; the name may hold slashes. */
export function splitId(id: string): { namespace: string; kind: string; name: string } {
  const [namespace = '', kind = '', ...rest] = id.split('/')
  return { namespace, kind, name: rest.join('/') || id }
}
