package protocol

import "strings"

// sqlRule says where a kind of statement has its table.
type sqlRule uint8

const (
	sqlBare   sqlRule = iota + 1 // it has none, or none that should be told
	sqlDirect                    // after the kind and some noise words
	sqlFrom                      // after a FROM that belongs to a SELECT or DELETE
	sqlObject                    // CREATE, ALTER, DROP: after what sort of thing it is
	sqlInto                      // after INTO
	sqlInner                     // in the statement that follows
	sqlWith                      // after the common table expressions
)

// sqlKinds are the words that begin a statement, of PostgreSQL, MySQL, MariaDB, CQL and ClickHouse. A word that is not here is never repeated.
var sqlKinds = makeKinds(map[sqlRule]string{
	sqlBare: `BEGIN START COMMIT ROLLBACK SAVEPOINT RELEASE END ABORT SET RESET SHOW USE CLUSTER CHECKPOINT DISCARD LISTEN UNLISTEN NOTIFY
		UNLOCK GRANT REVOKE DO EXECUTE EXEC DEALLOCATE FETCH MOVE CLOSE COMMENT SECURITY REASSIGN KILL FLUSH CHECKSUM INSTALL UNINSTALL
		PURGE CHANGE STOP XA BINLOG CACHE HELP SHUTDOWN SIGNAL RESIGNAL GET VALUES IDENTIFY_SYSTEM START_REPLICATION TIMELINE_HISTORY
		CREATE_REPLICATION_SLOT DROP_REPLICATION_SLOT READ_REPLICATION_SLOT BASE_BACKUP SYSTEM WATCH EXCHANGE APPLY LIST ADD IMPORT`,
	sqlDirect: "INSERT UPDATE REPLACE MERGE UPSERT TRUNCATE LOCK COPY CALL TABLE VACUUM ANALYZE HANDLER OPTIMIZE REPAIR CHECK REINDEX REFRESH EXISTS ATTACH DETACH UNDROP RENAME",
	sqlFrom:   "SELECT DELETE DECLARE PREPARE",
	sqlObject: "CREATE ALTER DROP",
	sqlInto:   "LOAD",
	sqlInner:  "EXPLAIN DESCRIBE DESC",
	sqlWith:   "WITH",
})

// sqlNoise are words that may stand between a kind and its table.
var sqlNoise = makeWords(`INTO LOW_PRIORITY HIGH_PRIORITY DELAYED QUICK IGNORE ONLY LATERAL TABLE TABLES IF NOT EXISTS OR CONCURRENTLY MATERIALIZED VIEW
	FULL FREEZE VERBOSE ANALYZE LOCAL NO_WRITE_TO_BINLOG FUNCTION OVERWRITE FROM BINARY INDEX SYSTEM DATABASE SCHEMA`)

// sqlModifiers are words that may stand between CREATE and what is created.
var sqlModifiers = makeWords(`OR REPLACE TEMP TEMPORARY UNIQUE GLOBAL LOCAL UNLOGGED MATERIALIZED RECURSIVE FULLTEXT SPATIAL VECTOR ONLINE OFFLINE
	IGNORE FOREIGN AGGREGATE PROCEDURAL TRUSTED EVENT CUSTOM`)

// sqlObjects are the sorts of things; of those in the first list the name is told too.
var (
	sqlNamedObjects = makeWords("TABLE VIEW SEQUENCE")
	sqlObjects      = makeWords(`TABLE VIEW SEQUENCE INDEX SCHEMA DATABASE KEYSPACE FUNCTION PROCEDURE TRIGGER TYPE EXTENSION USER ROLE DOMAIN
		PUBLICATION SUBSCRIPTION TABLESPACE POLICY RULE SERVER AGGREGATE LANGUAGE OPERATOR COLLATION STATISTICS DICTIONARY QUOTA PROFILE PACKAGE`)
	// sqlNoTable are words that stand where a table could, and are none.
	sqlNoTable = makeWords("SELECT VALUES WITH SET WHERE ON AS USING VALUE DEFAULT NULL FOR TO")
	// sqlInners are the statements that can follow EXPLAIN or common table expressions.
	sqlInners = makeWords("SELECT INSERT UPDATE DELETE REPLACE MERGE VALUES TABLE WITH EXECUTE DECLARE CREATE CALL")
)

func makeKinds(rules map[sqlRule]string) map[string]sqlRule {
	kinds := map[string]sqlRule{}
	for rule, words := range rules {
		for _, w := range strings.Fields(words) {
			kinds[w] = rule
		}
	}
	return kinds
}

func makeWords(list string) map[string]bool {
	words := map[string]bool{}
	for _, w := range strings.Fields(list) {
		words[w] = true
	}
	return words
}

// maxSQLWord is the longest word that is known.
const maxSQLWord = 24

// sqlWords are all words that mean something here, by themselves.
var sqlWords = func() map[string]string {
	words := map[string]string{}
	for w := range sqlKinds {
		words[w] = w
	}
	for _, set := range []map[string]bool{sqlNoise, sqlModifiers, sqlObjects, sqlNoTable, sqlInners, makeWords("FROM DISTINCT INTO ON RECURSIVE")} {
		for w := range set {
			words[w] = w
		}
	}
	return words
}()
