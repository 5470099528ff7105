import { Code } from '@mantine/core'
import { Empty } from '../ui/States.tsx'

/** Says what sends objects of Kubernetes, where none came. */
export function NoObjects({ what, known }: { what: string; known: boolean }) {
  if (known) return <Empty title={`No ${what} at the end of this time range`}><p>Take another range.</p></Empty>
  return (
    <Empty title={`Nothing tells of ${what}`}>
      <p>On a machine without Kubernetes there are none. In a cluster one process reads the Kubernetes API and sends what it sees to this server:</p>
      <Code block>vetch watcher --server http://this-server:4780</Code>
      <p>or take a range in which it ran.</p>
    </Empty>
  )
}
