package protocol

import "strings"

// redisContainers are the commands whose second word is a command too, with the second words they have
// (COMMAND LIST of Redis 7.0, and what Redis 7.2 to 8.2 and Valkey 8 and 9 document beyond it).
var redisContainers = redisSubcommands(map[string]string{
	"ACL":     "HELP DELUSER CAT GETUSER GENPASS WHOAMI LIST LOAD DRYRUN SAVE SETUSER USERS LOG",
	"CLUSTER": "INFO NODES RESET DELSLOTSRANGE ADDSLOTSRANGE MEET REPLICAS COUNTKEYSINSLOT SLOTS FORGET HELP GETKEYSINSLOT SLAVES SHARDS DELSLOTS KEYSLOT SET-CONFIG-EPOCH ADDSLOTS LINKS FLUSHSLOTS MYID MYSHARDID SAVECONFIG BUMPEPOCH FAILOVER COUNT-FAILURE-REPORTS SETSLOT REPLICATE SLOT-STATS MIGRATION MIGRATESLOTS GETSLOTMIGRATIONS CANCELSLOTMIGRATIONS",
	"MODULE":  "LOAD HELP LOADEX LIST UNLOAD", "CONFIG": "REWRITE HELP GET RESETSTAT SET",
	"PUBSUB": "NUMSUB NUMPAT CHANNELS SHARDCHANNELS HELP SHARDNUMSUB", "XINFO": "STREAM CONSUMERS HELP GROUPS",
	"COMMAND": "GETKEYS GETKEYSANDFLAGS COUNT DOCS LIST HELP INFO", "SCRIPT": "HELP EXISTS DEBUG LOAD FLUSH KILL SHOW",
	"LATENCY": "DOCTOR GRAPH LATEST RESET HELP HISTOGRAM HISTORY", "MEMORY": "HELP MALLOC-STATS DOCTOR USAGE PURGE STATS",
	"XGROUP": "DELCONSUMER CREATECONSUMER DESTROY CREATE SETID HELP", "SLOWLOG": "HELP GET RESET LEN",
	"CLIENT": "SETNAME SETINFO GETREDIR GETNAME LIST UNPAUSE REPLY PAUSE ID KILL TRACKINGINFO UNBLOCK TRACKING HELP CACHING NO-EVICT NO-TOUCH INFO CAPA IMPORT-SOURCE",
	"OBJECT": "HELP ENCODING FREQ IDLETIME REFCOUNT", "COMMANDLOG": "HELP GET RESET LEN",
	"FUNCTION": "RESTORE LIST LOAD DUMP FLUSH HELP DELETE KILL STATS",
	"SENTINEL": "CKQUORUM CONFIG DEBUG FAILOVER FLUSHCONFIG GET-MASTER-ADDR-BY-NAME HELP INFO-CACHE IS-MASTER-DOWN-BY-ADDR MASTER MASTERS MONITOR MYID PENDING-SCRIPTS REMOVE REPLICAS RESET SENTINELS SET SIMULATE-FAILURE SLAVES PRIMARY PRIMARIES",
})

// redisSubcommands maps each second word to the operation that it makes with the first.
func redisSubcommands(containers map[string]string) map[string]map[string]string {
	all := map[string]map[string]string{}
	for command, subs := range containers {
		all[command] = map[string]string{"": command}
		for _, sub := range strings.Fields(subs) {
			all[command][sub] = command + " " + sub
		}
	}
	return all
}

// redisCommands are the commands of Redis 7.0 (COMMAND LIST), of later Redis and Valkey, and of the modules that come with Redis 8.
var redisCommands = redisNames(strings.ToUpper(`replicate xdel zincrby restore lpop sort brpoplpush smove smembers lastsave xautoclaim
sunionstore save bitcount bitfield bzpopmin ssubscribe monitor mset pfselftest zinter lpushx xrange zmpop fcall_ro zrank hvals spublish
setbit zrange auth georadius_ro decr blmove xsetid srem zrevrange ltrim eval xclaim sinterstore readwrite zadd linsert xreadgroup xread
georadius eval_ro hdel pexpireat lpos getdel zscan bzpopmax zremrangebyscore pexpire sismember zremrangebylex bgrewriteaof touch expireat
geoadd geosearchstore unwatch hgetall evalsha blmpop rpoplpush time scard zrevrangebyscore quit zdiff get role subscribe zlexcount setex
hget smismember xtrim pexpiretime bitpos lpush publish multi xadd zpopmin geohash zscore getbit rename zinterstore sadd unlink sort_ro
mget incrby hset hincrbyfloat geodist bzmpop hello llen sunsubscribe hkeys discard geosearch unsubscribe hsetnx lindex rpushx info
punsubscribe bgsave zmscore expiretime xpending randomkey fcall lset setnx lmove watch lrem hincrby swapdb sscan psetex pfmerge readonly
setrange expire zunion incrbyfloat sdiffstore sintercard xlen geopos lmpop keys set flushdb blpop brpop msetnx xrevrange
georadiusbymember_ro spop replicaof pfdebug del dump ping zrangebyscore lrange rpop pttl zunionstore hscan exec pfcount echo migrate
dbsize getset evalsha_ro strlen srandmember hlen restore-asking substr select debug zdiffstore incr hexists zcount exists persist
shutdown hstrlen scan sunion ttl zremrangebyrank getrange getex flushall pfadd failover asking zrem hmget slaveof lolwut zrandmember
replconf hmset reset bitop append renamenx zrevrank hrandfield zcard type psubscribe zrangestore rpush zpopmax zintercard
zrevrangebylex zrangebylex sdiff sync wait xack copy psync move lcs georadiusbymember bitfield_ro decrby sinter waitaof hexpire
hpexpire hexpireat hpexpireat hpersist httl hpttl hexpiretime hpexpiretime hgetdel hgetex hsetex xdelex xackdel delifeq delex digest
msetex delslots vadd vcard vdim vemb vgetattr vinfo vismember vlinks vrandmember vrange vrem vsetattr vsim
json.arrappend json.arrindex json.arrinsert json.arrlen json.arrpop json.arrtrim json.clear json.debug json.del json.forget json.get
json.merge json.mget json.mset json.numincrby json.nummultby json.objkeys json.objlen json.resp json.set json.strappend json.strlen
json.toggle json.type ft._list ft.aggregate ft.aliasadd ft.aliasdel ft.aliasupdate ft.alter ft.config ft.create ft.cursor ft.dictadd
ft.dictdel ft.dictdump ft.dropindex ft.explain ft.explaincli ft.hybrid ft.info ft.profile ft.search ft.spellcheck ft.sugadd ft.sugdel
ft.sugget ft.suglen ft.syndump ft.synupdate ft.tagvals bf.add bf.card bf.exists bf.info bf.insert bf.loadchunk bf.madd bf.mexists
bf.reserve bf.scandump cf.add cf.addnx cf.count cf.del cf.exists cf.info cf.insert cf.insertnx cf.loadchunk cf.mexists cf.reserve
cf.scandump cms.incrby cms.info cms.initbydim cms.initbyprob cms.merge cms.query topk.add topk.count topk.incrby topk.info topk.list
topk.query topk.reserve tdigest.add tdigest.byrank tdigest.byrevrank tdigest.cdf tdigest.create tdigest.info tdigest.max tdigest.merge
tdigest.min tdigest.quantile tdigest.rank tdigest.reset tdigest.revrank tdigest.trimmed_mean ts.add ts.alter ts.create ts.createrule
ts.decrby ts.del ts.deleterule ts.get ts.incrby ts.info ts.madd ts.mget ts.mrange ts.mrevrange ts.queryindex ts.range ts.revrange`))

// redisErrors are the first words of the error answers that servers give; a script may answer with any other.
var redisErrors = wordSet(`ERR WRONGTYPE MOVED ASK NOAUTH NOPERM NOSCRIPT LOADING BUSY MASTERDOWN MISCONF READONLY OOM EXECABORT NOREPLICAS
CROSSSLOT TRYAGAIN CLUSTERDOWN WRONGPASS BUSYGROUP NOGROUP UNBLOCKED NOPROTO UNKILLABLE BUSYKEY IOERR INPROG NOTBUSY NOMASTERLINK
NOGOODSLAVE NOQUORUM DENIED REDIRECT INVALIDOBJ NOTREADY NOADDR NOSUB SYNTAX DUPLICATE TIMEOUT NODATA`)

// redisNames maps each word to itself, so that a name needs no memory of its own.
func redisNames(words string) map[string]string {
	names := map[string]string{}
	for _, w := range strings.Fields(words) {
		names[w] = w
	}
	return names
}

// redisOperation names a command by words of the lists only: a word that a client sends by mistake may be a value.
func redisOperation(word []byte) (operation string, subs map[string]string) {
	var buf [redisMaxWord]byte
	upper := redisUpper(&buf, word)
	if subs, ok := redisContainers[string(upper)]; ok {
		return subs[""], subs
	}
	if name, ok := redisCommands[string(upper)]; ok {
		return name, nil
	}
	return "~other", nil
}

// redisSuboperation names a container command by its second word.
func redisSuboperation(container string, subs map[string]string, word []byte) string {
	var buf [redisMaxWord]byte
	if upper := redisUpper(&buf, word); len(upper) > 0 && subs[string(upper)] != "" {
		return subs[string(upper)]
	}
	return container + " ~other"
}

// redisUpper is word in capitals; nothing of a word that is too long to be a command.
func redisUpper(buf *[redisMaxWord]byte, word []byte) []byte {
	if len(word) > len(buf) {
		return nil
	}
	for i, x := range word {
		if x >= 'a' && x <= 'z' {
			x -= 'a' - 'A'
		}
		buf[i] = x
	}
	return buf[:len(word)]
}

// redisStatus is the prefix of an error answer.
func redisStatus(message []byte) string {
	prefix, _, _ := strings.Cut(string(message[:min(len(message), maxFoldToken)]), " ")
	prefix = strings.TrimRight(prefix, "\r\n")
	if redisErrors[prefix] {
		return prefix
	}
	return "~other"
}
