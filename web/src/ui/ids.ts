// What the ids of the API hold.

/** Who is meant by an id. The cluster is empty for the server's own. */
export interface Who {
  cluster: string
  namespace: string
  kind: string
  name: string
}

/** cluster, namespace, kind and name of an id as model.Workload.QualifiedID writes it; the name may hold slashes. */
export function splitId(id: string): Who {
  const [space = '', kind = '', ...rest] = id.split('/')
  const colon = space.indexOf(':')
  return { cluster: unescape(space.slice(0, Math.max(0, colon))), namespace: space.slice(colon + 1), kind, name: rest.join('/') || id }
}

const unescape = (cluster: string) => cluster.replace(/%(25|2F|3A)/g, (code) => ({ '%25': '%', '%2F': '/', '%3A': ':' })[code]!)

const escape = (cluster: string) => cluster.replace(/[%/:]/g, (c) => ({ '%': '%25', '/': '%2F', ':': '%3A' })[c]!)

/** The id of a node (`name`), a namespace (`name`) or a pod (`namespace/name`) of the cluster that is named so. */
export function idIn(cluster: string, text: string, { home }: Clusters): string {
  return cluster === '' || cluster === home ? text : `${escape(cluster)}:${text}`
}

/** The cluster before such an id, and the text after it. The cluster is empty for the server's own. */
export function splitCluster(id: string): { cluster: string; text: string } {
  const colon = id.indexOf(':')
  return { cluster: unescape(id.slice(0, Math.max(0, colon))), text: id.slice(colon + 1) }
}

/** The clusters that a server knows, and its own. */
export interface Clusters {
  home: string
  all: readonly string[]
}

/** The namespace as it is shown: with its cluster where there is more than one. */
export function inSpace({ cluster, namespace }: { cluster: string; namespace: string }, { home, all }: Clusters): string {
  if (all.length < 2) return namespace
  return [cluster || home, namespace].filter(Boolean).join(' › ')
}

/** Puts the cluster into the namespaces of a list that has more than one cluster, so that those of the same name stay apart. */
export function apart<T extends { cluster: string; namespace: string }>(list: T[]): T[] {
  const all = [...new Set(list.map((one) => one.cluster))]
  return all.length < 2 ? list : list.map((one) => ({ ...one, namespace: inSpace(one, { home: '', all }) }))
}
