import type { Pod } from '../api/types.ts'

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
