package protocol

// kafkaAPI is what is known of an API: versions up to max, of which those from flexible on are compact. asks and tells are the fields of request
// and answer, as far as they are needed; whole says that asks are all of them.
type kafkaAPI struct {
	name          string
	max, flexible int16
	whole         bool
	topics        bool // the operation has a topic
	names         bool // answers tell which numbers topics have
	places        bool // it says how far consumers are
	asks, tells   []kafkaField
}

const kafkaNever = 1 << 14 // the version from which no version is compact

// kafkaErrs begins an answer: the time that the client was throttled, of versions since that, and the code of the whole answer.
func kafkaErrs(since int16, more ...kafkaField) []kafkaField {
	if len(more) == 0 {
		more = []kafkaField{kStop}
	}
	return append([]kafkaField{kI32.since(since), kError}, more...)
}

// kafkaEach is an answer with a code for each thing that was asked for; before are the fields in front of the code.
func kafkaEach(since int16, before ...kafkaField) []kafkaField {
	return []kafkaField{kI32.since(since), kStructs(append(before, kError, kStop)...), kStop}
}

// kafkaParts is an answer with a code for each partition.
func kafkaParts(since int16, named []kafkaField, partition ...kafkaField) []kafkaField {
	return []kafkaField{kI32.since(since), kStructs(append(named, kStructs(partition...))...)}
}

// kafkaAPIs are the APIs by key (https://kafka.apache.org/protocol#protocol_api_keys), to version 4.2 of Kafka.
var kafkaAPIs = func() map[int16]*kafkaAPI {
	all := map[int16]*kafkaAPI{}
	kafkaRecordAPIs(all)
	kafkaTopicAPIs(all)
	kafkaOffsetAPIs(all)
	kafkaTransactionAPIs(all)
	kafkaOtherAPIs(all)
	return all
}()

// kafkaRecordAPIs are those that move records.
func kafkaRecordAPIs(all map[int16]*kafkaAPI) {
	topic := []kafkaField{kTopic.before(13), kTopicID.since(13)}
	told := []kafkaField{kText.before(13), kUUID.since(13)}
	with := func(a []kafkaField, more ...kafkaField) kafkaField {
		return kStructs(append(append([]kafkaField(nil), a...), more...)...)
	}
	all[0] = &kafkaAPI{
		name: "Produce", max: 13, flexible: 9, whole: true, topics: true,
		asks: []kafkaField{kText.since(3), kAcks, kI32, with(topic, kStructs(kI32, kBytes))},
		tells: []kafkaField{
			with(told, kStructs(kI32, kError, kI64, kI64.since(2), kI64.since(5), kStructs(kI32, kText).since(8), kText.since(8))),
			kI32.since(1),
		},
	}
	all[1] = &kafkaAPI{
		name: "Fetch", max: 18, flexible: 12, whole: true, topics: true, places: true,
		asks: []kafkaField{
			kReplica.before(15), kI32, kI32, kI32.since(3), kI8.since(4), kSession.since(7), kEpoch.since(7),
			with(topic, kStructs(kPart, kI32.since(9), kOffset, kI32.since(12), kI64.since(5), kI32)),
			with(topic, kArray(kForget)).since(7), kText.since(11),
		},
		tells: []kafkaField{
			kI32.since(1), kError.since(7), kSession.since(7),
			with(topic, kStructs(kPart, kError, kHigh, kI64.since(4), kI64.since(5), kStructs(kI64, kI64).since(4), kI32.since(11), kBytes)),
		},
	}
	all[2] = &kafkaAPI{
		name: "ListOffsets", max: 11, flexible: 6, whole: true, topics: true,
		asks: []kafkaField{
			kI32, kI8.since(2), kStructs(kTopic, kStructs(kI32, kI32.since(4), kI64, kI32.before(1))), kI32.since(10),
		},
		tells: kafkaParts(2, []kafkaField{kText}, kI32, kError, kArray(kI64).before(1), kI64.since(1), kI64.since(1), kI32.since(4)),
	}
	all[23] = &kafkaAPI{
		name: "OffsetForLeaderEpoch", max: 4, flexible: 4, whole: true, topics: true,
		asks:  []kafkaField{kI32.since(3), kStructs(kTopic, kStructs(kI32, kI32.since(2), kI32))},
		tells: kafkaParts(2, []kafkaField{kText}, kError, kI32, kI32.since(1), kI64),
	}
}

// kafkaTopicAPIs are those that ask about topics or change them.
func kafkaTopicAPIs(all map[int16]*kafkaAPI) {
	all[3] = &kafkaAPI{
		name: "Metadata", max: 13, flexible: 9, whole: true, names: true,
		asks: []kafkaField{
			kStructs(kUUID.since(10), kText), kI8.since(4), kI8.since(8).before(11), kI8.since(8),
		},
		tells: []kafkaField{
			kI32.since(3), kStructs(kI32, kText, kI32, kText.since(1)), kText.since(2), kI32.since(1),
			kStructs(kError, kTopic, kTopicID.since(10), kI8.since(1),
				kStructs(kError, kI32, kI32, kI32.since(7), kArray(kI32), kArray(kI32), kArray(kI32).since(5)), kI32.since(8)),
			kI32.since(8).before(11), kError.since(13),
		},
	}
	all[19] = &kafkaAPI{
		name: "CreateTopics", max: 7, flexible: 5, whole: true, topics: true, names: true,
		asks: []kafkaField{
			kStructs(kTopic, kI32, kI16, kStructs(kI32, kArray(kI32)), kStructs(kText, kText)), kI32, kI8.since(1),
		},
		tells: []kafkaField{
			kI32.since(2),
			kStructs(kTopic, kTopicID.since(7), kError, kText.since(1), kI32.since(5), kI16.since(5), kStructs(kText, kText, kI8, kI8, kI8).since(5)),
		},
	}
	all[20] = &kafkaAPI{
		name: "DeleteTopics", max: 6, flexible: 4, whole: true, topics: true,
		asks:  []kafkaField{kArray(kTopic).before(6), kStructs(kTopic, kTopicID).since(6), kI32},
		tells: []kafkaField{kI32.since(1), kStructs(kText, kUUID.since(6), kError, kText.since(5))},
	}
	all[21] = &kafkaAPI{
		name: "DeleteRecords", max: 2, flexible: 2, whole: true, topics: true,
		asks:  []kafkaField{kStructs(kTopic, kStructs(kI32, kI64)), kI32},
		tells: kafkaParts(0, []kafkaField{kText}, kI32, kI64, kError),
	}
	all[37] = &kafkaAPI{
		name: "CreatePartitions", max: 3, flexible: 2, whole: true, topics: true,
		asks:  []kafkaField{kStructs(kTopic, kI32, kStructs(kArray(kI32))), kI32, kI8},
		tells: []kafkaField{kI32, kStructs(kText, kError, kText)},
	}
	all[61] = &kafkaAPI{name: "DescribeProducers", flexible: 0, topics: true, asks: []kafkaField{kStructs(kTopic, kStop)}, tells: kafkaParts(0, []kafkaField{kText}, kI32, kError, kStop)}
	all[75] = &kafkaAPI{name: "DescribeTopicPartitions", flexible: 0, topics: true, asks: []kafkaField{kStructs(kTopic)}, tells: kafkaEach(0)}
}

// kafkaOffsetAPIs are those that keep the places of groups of consumers.
func kafkaOffsetAPIs(all map[int16]*kafkaAPI) {
	topic := func(more ...kafkaField) kafkaField {
		return kStructs(append([]kafkaField{kTopic.before(10), kTopicID.since(10)}, more...)...)
	}
	told := func(more ...kafkaField) kafkaField {
		return kStructs(append([]kafkaField{kText.before(10), kUUID.since(10)}, more...)...)
	}
	all[8] = &kafkaAPI{
		name: "OffsetCommit", max: 10, flexible: 8, whole: true, topics: true,
		asks: []kafkaField{
			kText, kI32.since(1), kText.since(1), kText.since(7), kI64.since(2).before(5),
			topic(kStructs(kI32, kI64, kI64.since(1).before(2), kI32.since(6), kText)),
		},
		tells: []kafkaField{kI32.since(3), told(kStructs(kI32, kError))},
	}
	place := kStructs(kI32, kI64, kI32.since(5), kText, kError)
	all[9] = &kafkaAPI{
		name: "OffsetFetch", max: 10, flexible: 6, whole: true, topics: true,
		asks: []kafkaField{
			kText.before(8), topic(kArray(kI32)).before(8),
			kStructs(kText, kText.since(9), kI32.since(9), topic(kArray(kI32))).since(8), kI8.since(7),
		},
		tells: []kafkaField{kI32.since(3), kStructs(kText, place).before(8), kError.since(2).before(8), kStructs(kText, told(place), kError).since(8)},
	}
	all[47] = &kafkaAPI{
		name: "OffsetDelete", flexible: kafkaNever, whole: true, topics: true,
		asks:  []kafkaField{kText, kStructs(kTopic, kStructs(kI32))},
		tells: []kafkaField{kError, kI32, kStructs(kText, kStructs(kI32, kError))},
	}
	all[10] = &kafkaAPI{
		name: "FindCoordinator", max: 6, flexible: 3, whole: true,
		asks: []kafkaField{kText.before(4), kI8.since(1), kArray(kText).since(4)},
		tells: []kafkaField{
			kI32.since(1), kError.before(4), kText.since(1).before(4), kI32.before(4), kText.before(4), kI32.before(4),
			kStructs(kText, kI32, kText, kI32, kError, kText).since(4),
		},
	}
	all[12] = &kafkaAPI{
		name: "Heartbeat", max: 4, flexible: 4, whole: true,
		asks: []kafkaField{kText, kI32, kText, kText.since(3)}, tells: kafkaErrs(1),
	}
	all[13] = &kafkaAPI{name: "LeaveGroup", max: 5, flexible: 4, tells: kafkaErrs(1, kStructs(kText, kText, kError).since(3))}
}

// kafkaTransactionAPIs are those of transactional producers.
func kafkaTransactionAPIs(all map[int16]*kafkaAPI) {
	parts := kStructs(kText, kStructs(kI32, kError))
	all[24] = &kafkaAPI{
		name: "AddPartitionsToTxn", max: 5, flexible: 3, whole: true, topics: true,
		asks: []kafkaField{
			kText.before(4), kI64.before(4), kI16.before(4), kStructs(kTopic, kArray(kI32)).before(4),
			kStructs(kText, kI64, kI16, kI8, kStructs(kTopic, kArray(kI32))).since(4),
		},
		tells: []kafkaField{kI32, kError.since(4), kStructs(kText, parts).since(4), parts.before(4)},
	}
	all[28] = &kafkaAPI{
		name: "TxnOffsetCommit", max: 6, flexible: 3, whole: true, topics: true,
		asks: []kafkaField{
			kText, kText, kI64, kI16, kI32.since(3), kText.since(3), kText.since(3),
			kStructs(kTopic.before(6), kTopicID.since(6), kStructs(kI32, kI64, kI32.since(2), kText)),
		},
		tells: kafkaParts(0, []kafkaField{kText.before(6), kUUID.since(6)}, kI32, kError),
	}
	all[27] = &kafkaAPI{name: "WriteTxnMarkers", max: 2, flexible: 1, tells: []kafkaField{kStructs(kI64, parts)}}
	all[22] = &kafkaAPI{name: "InitProducerId", max: 5, flexible: 2, tells: kafkaErrs(0)}
	all[25] = &kafkaAPI{name: "AddOffsetsToTxn", max: 4, flexible: 3, tells: kafkaErrs(0)}
	all[26] = &kafkaAPI{name: "EndTxn", max: 5, flexible: 3, tells: kafkaErrs(0)}
}

// kafkaOtherAPIs are those of which only the code is read.
func kafkaOtherAPIs(all map[int16]*kafkaAPI) {
	add := func(key int16, name string, highest, flexible int16, tells []kafkaField) {
		all[key] = &kafkaAPI{name: name, max: highest, flexible: flexible, tells: tells}
	}
	code := []kafkaField{kError, kStop}
	all[18] = &kafkaAPI{
		name: "ApiVersions", max: 5, flexible: 3, whole: true, tells: code,
		asks: []kafkaField{kText.since(3), kText.since(3), kText.since(5), kI32.since(5)},
	}
	all[17] = &kafkaAPI{name: "SaslHandshake", max: 1, flexible: kafkaNever, whole: true, asks: []kafkaField{kText}, tells: code}
	add(4, "LeaderAndIsr", 7, 4, code)
	add(5, "StopReplica", 4, 2, code)
	add(6, "UpdateMetadata", 8, 6, code)
	add(7, "ControlledShutdown", 3, 3, code)
	add(11, "JoinGroup", 9, 6, kafkaErrs(2))
	add(14, "SyncGroup", 5, 4, kafkaErrs(1))
	add(15, "DescribeGroups", 6, 5, kafkaEach(1))
	add(16, "ListGroups", 5, 3, kafkaErrs(1))
	add(29, "DescribeAcls", 3, 2, kafkaErrs(0))
	add(30, "CreateAcls", 3, 2, []kafkaField{kI32, kStructs(kError, kText)})
	add(31, "DeleteAcls", 3, 2, kafkaEach(0))
	add(32, "DescribeConfigs", 4, 4, kafkaEach(0))
	add(33, "AlterConfigs", 2, 2, []kafkaField{kI32, kStructs(kError, kText, kI8, kText)})
	add(34, "AlterReplicaLogDirs", 2, 2, kafkaParts(0, []kafkaField{kText}, kI32, kError))
	add(35, "DescribeLogDirs", 5, 2, []kafkaField{kI32, kError.since(3), kStructs(kError, kStop), kStop})
	add(36, "SaslAuthenticate", 2, 2, code)
	add(38, "CreateDelegationToken", 3, 2, code)
	add(39, "RenewDelegationToken", 2, 2, code)
	add(40, "ExpireDelegationToken", 2, 2, code)
	add(41, "DescribeDelegationToken", 3, 2, code)
	add(42, "DeleteGroups", 3, 2, []kafkaField{kI32, kStructs(kText, kError, kText.since(3))})
	add(43, "ElectLeaders", 2, 2, []kafkaField{kI32, kError.since(1), kStructs(kText, kStructs(kI32, kError, kText))})
	add(44, "IncrementalAlterConfigs", 1, 1, []kafkaField{kI32, kStructs(kError, kText, kI8, kText)})
	add(45, "AlterPartitionReassignments", 1, 0, []kafkaField{kI32, kI8.since(1), kError, kText, kStructs(kText, kStructs(kI32, kError, kText))})
	add(46, "ListPartitionReassignments", 0, 0, kafkaErrs(0))
	add(48, "DescribeClientQuotas", 1, 1, kafkaErrs(0))
	add(49, "AlterClientQuotas", 1, 1, kafkaEach(0))
	add(50, "DescribeUserScramCredentials", 0, 0, kafkaErrs(0))
	add(51, "AlterUserScramCredentials", 0, 0, []kafkaField{kI32, kStructs(kText, kError, kText)})
	add(52, "Vote", 2, 0, code)
	add(53, "BeginQuorumEpoch", 1, 1, code)
	add(54, "EndQuorumEpoch", 1, 1, code)
	add(55, "DescribeQuorum", 2, 0, code)
	add(58, "Envelope", 0, 0, []kafkaField{kBytes, kError})
	add(65, "DescribeTransactions", 0, 0, kafkaEach(0))
	add(69, "ConsumerGroupDescribe", 1, 0, kafkaEach(0))
	add(77, "ShareGroupDescribe", 1, 0, kafkaEach(0))
	add(89, "StreamsGroupDescribe", 1, 0, kafkaEach(0))
	add(90, "DescribeShareGroupOffsets", 1, 0, []kafkaField{kI32, kStructs(kText, kStructs(kText, kUUID, kStructs(kI32, kI64, kI32, kI64.since(1), kError, kText)), kError, kText)})
	state := []kafkaField{kStructs(kUUID, kStructs(kI32, kError, kStop)), kStop}
	add(83, "InitializeShareGroupState", 0, 0, state)
	add(84, "ReadShareGroupState", 0, 0, state)
	add(85, "WriteShareGroupState", 1, 0, state)
	add(86, "DeleteShareGroupState", 0, 0, state)
	add(87, "ReadShareGroupStateSummary", 1, 0, state)
	for key, api := range map[int16]kafkaAPI{
		56: {name: "AlterPartition", max: 3}, 57: {name: "UpdateFeatures", max: 2}, 59: {name: "FetchSnapshot", max: 1}, 60: {name: "DescribeCluster", max: 2},
		62: {name: "BrokerRegistration", max: 4}, 63: {name: "BrokerHeartbeat", max: 2}, 64: {name: "UnregisterBroker"}, 66: {name: "ListTransactions", max: 2},
		67: {name: "AllocateProducerIds"}, 68: {name: "ConsumerGroupHeartbeat", max: 1}, 70: {name: "ControllerRegistration"},
		71: {name: "GetTelemetrySubscriptions"}, 72: {name: "PushTelemetry"}, 73: {name: "AssignReplicasToDirs"}, 74: {name: "ListConfigResources", max: 1},
		76: {name: "ShareGroupHeartbeat", max: 1}, 78: {name: "ShareFetch", max: 2}, 79: {name: "ShareAcknowledge", max: 2}, 80: {name: "AddRaftVoter", max: 1},
		81: {name: "RemoveRaftVoter"}, 82: {name: "UpdateRaftVoter"}, 88: {name: "StreamsGroupHeartbeat", max: 1}, 91: {name: "AlterShareGroupOffsets"},
		92: {name: "DeleteShareGroupOffsets"}, 93: {name: "StreamsGroupTopologyDescriptionUpdate"}, 94: {name: "UnregisterController"},
	} {
		api.tells = kafkaErrs(0)
		all[key] = &api
	}
}
