package protocol

// mongoCommands are the commands of servers up to version 8, by the name that a client sends (https://www.mongodb.com/docs/manual/reference/command/).
// Some have two spellings, and the first of them is the name of the operation.
var mongoCommands = func() map[string]mongoCommandKind {
	kinds := map[string]mongoCommandKind{}
	add := func(words string, collection bool) {
		for word := range wordSet(words) {
			kinds[word] = mongoCommandKind{word, collection}
		}
	}
	// The first field of these is a collection, if it is a text.
	add(`aggregate analyze autoCompact cleanupOrphaned cleanupStructuredEncryptionData cloneCollectionAsCapped collMod collStats compact
		compactStructuredEncryptionData convertToCapped count create createIndexes createSearchIndexes dataSize datasize delete distinct drop dropIndexes
		dropSearchIndex filemd5 find findAndModify geoNear geoSearch getMore group insert killCursors listIndexes listSearchIndexes mapReduce
		parallelCollectionScan planCacheClear planCacheClearFilters planCacheListFilters planCacheSetFilter queryStats reIndex setQuerySettings
		update updateSearchIndex validate`, true)
	// The first field of these is a number, or a name that is not to be shown.
	add(`abortReshardCollection abortTransaction addShard addShardToZone appendOplogNote applyOps authenticate availableQueryOptions balancerCollectionStatus
		balancerStart balancerStatus balancerStop buildInfo bulkWrite checkShardingIndex clearJumboFlag clone cloneCollection commitReshardCollection
		commitTransaction configureCollectionBalancing connPoolStats connPoolSync connectionStatus copydb createRole createUser currentOp
		dbHash dbStats dropAllRolesFromDatabase dropAllUsersFromDatabase dropConnections dropDatabase dropRole dropUser enableSharding
		endSessions explain features flushRouterConfig forceerror fsync fsyncUnlock getAuditConfig getClusterParameter getCmdLineOpts getDefaultRWConcern
		getDiagnosticData getLastError getLog getnonce getParameter getPrevError getShardMap getShardVersion grantPrivilegesToRole grantRolesToRole
		grantRolesToUser hello hostInfo invalidateUserCache isMaster isSelf isdbgrid killAllSessions killAllSessionsByPattern killOp killSessions
		listCollections listCommands listDatabases listShards lockInfo logApplicationMessage logRotate logout mergeAllChunksOnShard mergeChunks
		moveChunk moveCollection movePrimary moveRange netstat ping profile refineCollectionShardKey refreshSessions removeShard
		removeShardFromZone renameCollection replSetAbortPrimaryCatchUp replSetFreeze replSetGetConfig replSetGetStatus replSetHeartbeat replSetInitiate
		replSetMaintenance replSetReconfig replSetRequestVotes replSetResizeOplog replSetStepDown replSetSyncFrom replSetUpdatePosition
		reshardCollection resetError revokePrivilegesFromRole revokeRolesFromRole revokeRolesFromUser rolesInfo rotateCertificates
		saslContinue saslStart serverStatus setAllowMigrations setAuditConfig setClusterParameter setDefaultRWConcern setFeatureCompatibilityVersion
		setIndexCommitQuorum setParameter setShardVersion setUserWriteBlockMode shardCollection shardConnPoolStats shardingState shutdown split splitVector
		startSession top transitionFromDedicatedConfigServer transitionToDedicatedConfigServer unsetSharding unshardCollection updateRole updateUser
		updateZoneKeyRange usersInfo validateDBMetadata waitForFailPoint whatsmyuri whatsmysni`, false)
	for alias, name := range map[string]string{
		"ismaster": "isMaster", "findandmodify": "findAndModify", "buildinfo": "buildInfo", "collstats": "collStats", "dbstats": "dbStats",
		"mapreduce": "mapReduce", "deleteIndexes": "dropIndexes", "getlasterror": "getLastError", "getpreverror": "getPrevError", "reseterror": "resetError",
		"dbhash": "dbHash", "datasize": "dataSize", "serverstatus": "serverStatus",
	} {
		kinds[alias] = kinds[name]
	}
	return kinds
}()

// mongoCommandKind is a command's name, and whether its first field names a collection.
type mongoCommandKind struct {
	name       string
	collection bool
}

// mongoCommand is the name of a command, "" if it is none, and whether a collection follows it.
func mongoCommand(word []byte) (string, bool) {
	kind := mongoCommands[string(word)]
	return kind.name, kind.collection
}
