package digest

import "github.com/vetch-dev/vetch/model"

// families describes every metric of the agent. The pointers are what Sample.Family points to, so they are made once for a digest.
type families struct {
	workloadRequests, workloadDuration, workloadFailed, workloadCut, workloadMessages, workloadOverflow *model.Family

	edgeRequests, edgeDuration, edgeFailedRequests, edgeMessages, edgeBytes, edgeConnections, edgeActive, edgeFailed, edgeRetransmits, edgeRTT, edgeTLS, caretta, consumerLag *model.Family

	listen, connects, connectTime, connectFailures, active, retransmits, sent, received *model.Family

	node, agent, uptime, fqdn *model.Family

	hookAttached, eventsLost, mapEntries, mapMax, mapMemory *model.Family

	series, seriesMax, dropped, ignored, snapshots, conntrack, lookupFailures, named, namedMax *model.Family
}

func newFamilies() families {
	counter := func(name, unit, help string) *model.Family {
		return &model.Family{Name: name, Unit: unit, Help: help, Type: model.Counter}
	}
	gauge := func(name, unit, help string) *model.Family {
		return &model.Family{Name: name, Unit: unit, Help: help, Type: model.Gauge}
	}
	seconds := func(name, help string) *model.Family {
		return &model.Family{Name: name, Unit: "seconds", Help: help, Type: model.Histogram}
	}
	return families{
		workloadRequests: counter("vetch_workload_requests_total", "", "Requests that the workload received, by normalised route. Code none: the connection ended before a response."),
		workloadDuration: seconds("vetch_workload_request_duration_seconds", "Time from a request to its response, as the serving end sees it."),
		workloadFailed:   counter("vetch_workload_failed_requests_total", "", "Requests that the workload received and that failed by the rules of their protocol, or had no response."),
		workloadCut:      counter("vetch_workload_requests_cut_total", "", "Requests whose connection ended before the response was whole."),
		workloadMessages: counter("vetch_workload_messages_total", "", "Messages within requests that carry many, such as a WebSocket, that the workload sent and received."),
		workloadOverflow: counter("vetch_workload_routes_overflow_total", "", "Requests counted under the route ~other because the workload has too many routes."),

		edgeRequests:       counter("vetch_edge_requests_total", "", "Requests from the client to the server, by code."),
		edgeDuration:       seconds("vetch_edge_request_duration_seconds", "Time from a request to its response between client and server."),
		edgeFailedRequests: counter("vetch_edge_failed_requests_total", "", "Requests from the client to the server that failed by the rules of their protocol, or had no response."),
		edgeMessages:       counter("vetch_edge_messages_total", "", "Messages within requests that carry many, that the client sent to and received from the server."),
		edgeBytes:          counter("vetch_edge_bytes_total", "bytes", "Bytes that the client sent to and received from the server."),
		edgeConnections:    counter("vetch_edge_connections_total", "", "Connections established from the client to the server."),
		edgeActive:         gauge("vetch_edge_active_connections", "", "Connections open now."),
		edgeFailed:         counter("vetch_edge_failed_connections_total", "", "Connects that were not established, by cause."),
		edgeRetransmits:    counter("vetch_edge_retransmits_total", "", "TCP segments sent again by the watched end, the client's where both are."),
		edgeRTT:            seconds("vetch_edge_rtt_seconds", "Smoothed TCP round-trip times of the connections."),
		edgeTLS:            counter("vetch_edge_tls_connections_total", "", "TLS connections that began between client and server, by the version and cipher suite chosen and the name (SNI) and protocols (ALPN) asked for. Version none: the server chose none."),
		caretta:            gauge("caretta_links_observed", "", "Bytes sent so far by one end of a link: role 1 the client's, role 2 the server's."),

		consumerLag: gauge("vetch_kafka_consumer_lag", "", "Records of the topic between where the consumer fetches next and the end (high watermark), as last heard."),

		listen:          gauge("container_net_tcp_listen_info", "", "Address that the container listens at."),
		connects:        counter("container_net_tcp_successful_connects_total", "", "Outbound connections established."),
		connectTime:     counter("container_net_tcp_connection_time_seconds_total", "seconds", "Time spent establishing outbound connections."),
		connectFailures: counter("container_net_tcp_failed_connects_total", "", "Outbound connects that were not established."),
		active:          gauge("container_net_tcp_active_connections", "", "Outbound connections open now."),
		retransmits:     counter("container_net_tcp_retransmits_total", "", "TCP segments sent again on outbound connections."),
		sent:            counter("container_net_tcp_bytes_sent_total", "bytes", "Bytes sent on outbound connections."),
		received:        counter("container_net_tcp_bytes_received_total", "bytes", "Bytes received on outbound connections."),

		node:   gauge("node_info", "", "The machine: host name and kernel version."),
		agent:  gauge("node_agent_info", "", "Version of the agent."),
		uptime: gauge("node_uptime_seconds", "seconds", "Time since the machine started."),
		fqdn:   gauge("ip_to_fqdn", "", "Address that an answer of DNS gave for a name."),

		hookAttached: gauge("vetch_probe_hook_attached", "", "1 where the kernel hook is attached, 0 where it is not available or not chosen."),
		eventsLost:   counter("vetch_probe_events_lost_total", "", "Events in the kernel that could not be counted, by reason."),
		mapEntries:   gauge("vetch_probe_map_entries", "", "Entries in the kernel map."),
		mapMax:       gauge("vetch_probe_map_max_entries", "", "Entries that the kernel map has room for."),
		mapMemory:    gauge("vetch_probe_map_memory_bytes", "bytes", "Memory of the kernel map."),

		series:         gauge("vetch_digest_series", "", "Series that the digest holds."),
		seriesMax:      gauge("vetch_digest_max_series", "", "Series that the digest has room for."),
		dropped:        counter("vetch_digest_dropped_total", "", "Observations that are not in the series, or not under their own name, by the limit that was met."),
		ignored:        counter("vetch_requests_ignored_total", "", "Requests that a rule of agent.ignore_requests left out of all other metrics, by rule."),
		snapshots:      counter("vetch_digest_snapshots_total", "", "Readings of the kernel maps that were taken in."),
		conntrack:      counter("vetch_process_conntrack_queries_total", "", "Connections looked up in the connection tracker, by result."),
		named:          gauge("vetch_names_addresses", "", "Addresses whose names are remembered."),
		namedMax:       gauge("vetch_names_max_addresses", "", "Limit of vetch_names_addresses."),
		lookupFailures: counter("vetch_process_lookup_failures_total", "", "Names, addresses and listeners that could not be looked up or kept, by what."),
	}
}
