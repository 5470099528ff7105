// Short names for the shapes of api/openapi.yaml; schema.ts is generated from it (npm run generate).
import type { components } from './schema.ts'

type Schemas = components['schemas']

export type Health = Schemas['Health']
export type Signals = Schemas['Signals']
export type MapNode = Schemas['Node']
export type MapEdge = Schemas['Edge']
export type ServiceMap = Schemas['Map']
export type Series = Schemas['Series']
export type WorkloadSummary = Schemas['WorkloadSummary']
export type WorkloadList = Schemas['WorkloadList']
export type Route = Schemas['Route']
export type WorkloadDetail = Schemas['WorkloadDetail']
export type TLSConnections = Schemas['TLS']
export type EventItem = Schemas['Event']
export type EventList = Schemas['EventList']
export type EventCounts = Schemas['EventCounts']
export type Status = Schemas['Status']
