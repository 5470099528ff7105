import type { PodFilter } from '../api/client.ts'
import type { Pod, PodList } from '../api/types.ts'

export const ALL_PODS: PodFilter = {}

/** What to ask the server for, so that a namespace shows all of its pods also where there are more than one answer holds. */
export function narrowed(list: PodList | undefined, named: readonly Pod[], space: string): PodFilter {
  const first = list && list.total > list.pods.length && space !== '' ? list.pods[named.findIndex((p) => p.namespace === space)] : undefined
  return first ? { cluster: first.cluster, namespace: first.namespace } : ALL_PODS
}

/** The pods that hold every word of the text in a name, status or reason, and are in a namespace and of a health, where these are chosen. `named` are the
 *  same pods with their namespaces as they are shown. */
export function chosenPods(pods: readonly Pod[], named: readonly Pod[], { text, space, health }: { text: string; space: string; health: string }): Pod[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean)
  return pods.filter((p, i) => {
    if (space !== '' && named[i]!.namespace !== space) return false
    if (health !== '' && p.health !== health) return false
    const all = `${named[i]!.namespace}/${p.name} ${p.workload} ${p.node} ${p.ip} ${p.status} ${p.reasons.join(' ')}`.toLowerCase()
    return words.every((word) => all.includes(word))
  })
}
