/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Structures shared with Go (agent/probe/layout.go); a test compares both against BTF. Padding is explicit. */
#pragma once

#define NUM_BUCKETS 209	  /* latency, native-histogram schema 3, 2^-20 s .. 2^6 s */
#define NUM_RTT_BUCKETS 24 /* round trips, schema 0, 2^-21 s .. */
#define ROUTE_TEXT 104
#define NUM_SLOTS 4

enum role { ROLE_UNKNOWN, ROLE_CLIENT, ROLE_SERVER };
/* STREAM: what it says is shipped to user space. TLS: its hellos are, and the rest is counted by its bytes only. REDIS to MYSQL: of
   series and offers alone, where the kernel matches what user space has recognised. Names for these are in agent/protocol/matched.go. */
enum protocol { PROTO_UNKNOWN, PROTO_HTTP1, PROTO_TLS, PROTO_REDIS, PROTO_MEMCACHED, PROTO_POSTGRES, PROTO_MYSQL, PROTO_STREAM = 254, PROTO_OTHER = 255 };
/* What is known of TLS on a connection: WIRE means that its bytes are cipher text, PLAIN that uprobes show what is inside. */
enum tls { TLS_NONE, TLS_WIRE, TLS_PLAIN };
enum connect_error { CONNECT_REFUSED, CONNECT_TIMED_OUT, CONNECT_UNREACHABLE, CONNECT_RESET, CONNECT_CANCELED, CONNECT_OTHER, NUM_CONNECT_ERRORS };

/* Why something could not be counted. Names for these are in agent/probe/stats.go, in the same order. */
enum lost {
	LOST_CONNS_FULL,
	LOST_OWNERS_FULL,
	LOST_PAIRS_FULL,
	LOST_SERIES_FULL,
	LOST_LISTENERS_FULL,
	LOST_PENDING_FULL,
	LOST_SOURCES_FULL,
	LOST_READ_FAULT,
	LOST_TOO_LONG,
	LOST_GAP,
	LOST_MALFORMED,
	LOST_REQUEST_UNSEEN,
	LOST_RESPONSE_UNSEEN,
	LOST_PARTIALS_FULL,
	LOST_RING_FULL,
	LOST_CALL_LONG,
	LOST_TLS_UNBOUND,
	LOST_RING_SHARE,
	LOST_EXITS_FULL,
	LOST_TRANSLATED_FULL,
	LOST_TLS_CALL_UNSEEN,
	NUM_LOST,
};

/* Entries made and removed, where a map is too large to count them; changes of state that came inside of another. */
enum count { COUNT_CONNS_ADDED, COUNT_CONNS_REMOVED, COUNT_STATES_WITHIN, NUM_COUNTS };

struct addr_t {
	__u8 b[16]; /* IPv4 as ::ffff:a.b.c.d */
};

struct owner_t {
	__u64 cgroup_v1;
	__u64 cgroup_v2;
	__u64 exe_ino;
	__u32 exe_dev;
	__u32 netns;
	__u32 pid;
	__u32 routes;	 /* distinct routes in the dictionary so far */
	__u32 overflow;	 /* requests whose route did not get in */
	__u8 ignored;
	__u8 pad[3];
	char comm[16];
	char exe[64];
	char path_v1[5][96]; /* leaf first */
	char path_v2[5][96];
};

struct pair_key_t {
	__u64 owner;
	__u64 peer;
	struct addr_t local;
	struct addr_t remote;
	struct addr_t actual;
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
	__u16 actual_port;
	__u8 role;
	__u8 family;
	__u32 pad;
};

struct pair_t {
	struct pair_key_t key;
	__u64 opened;
	__u64 closed;
	__s64 active;
	__u64 failed[NUM_CONNECT_ERRORS];
	__u64 sent;
	__u64 received;
	__u64 retransmits;
	__u64 connect_ns;
	__u64 rtt_us;
	__u64 last_ns;
	__u32 rtt[NUM_RTT_BUCKETS];
	struct addr_t sample_local;
	__u16 sample_port;
	__u16 pad[3];
};

struct series_key_t {
	__u64 pair;
	__u64 route;
	__u32 code;
	__u8 method;
	__u8 cut;
	__u8 protocol;
	__u8 pad;
};

struct series_t {
	__u64 sum_ns;
	__u64 sent; /* by the owner: part of the pair's bytes, kept here to save a lookup */
	__u64 received;
	__u32 buckets[NUM_BUCKETS];
	__u32 pad;
};

struct route_t {
	__u64 owner;
	__u8 len;
	__u8 pad[7];
	char text[ROUTE_TEXT];
};

struct listener_key_t {
	struct addr_t addr;
	__u32 netns;
	__u16 port;
	__u16 pad;
};

struct listener_t {
	__u64 owner;
	__u64 sk;
};

/* One direction of a connection, as a stream of messages. */
struct stream_t {
	__u64 remaining; /* bytes of body or chunk still to come */
	__u64 hash;	 /* route so far; in a header value: digits so far */
	__u64 word;	 /* the method's letters so far */
	__u32 seq;	 /* TCP sequence number after the last byte seen */
	__u16 code;
	__u8 state;
	__u8 match;	 /* letters matched of what the state waits for */
	__u8 method;	 /* of a request; where Memcached is matched, a field of the command */
	__u8 flags;
	__u8 out;	 /* bytes of route text */
	__u8 tok_out;	 /* where the present token began in it */
	__u64 tok_hash;	 /* hash before the present token */
	__u8 tok_len;
	__u8 tok_digits;
	__u8 tok_flags;
	__u8 tries;
	__u32 shown; /* bytes of a TLS handshake, or of the first request in HTTP/1, that were shipped */
};

/* A request that waits for its response (or a response that was seen before its request). */
struct slot_t {
	__u64 begin_ns;
	__u64 end_ns;
	__u64 route;
	__u32 seq;
	__u32 state;
	__u32 code;
	__u8 method;
	__u8 cut;
	__u8 protocol; /* an enum protocol */
	__u8 uncounted; /* of a response that came before its request: user space has seen it */
	__u16 asked;	/* keys that the request asks for, and */
	__u16 found;	/* that the response has, where the protocol tells. Of PostgreSQL asked is 0 where only a failure counts */
	__u8 pad[4];
};

/* How a connection's messages begin and end, where that is known. Names for these are in agent/protocol/framing.go. */
enum framing { FRAMING_NONE, FRAMING_RESP, FRAMING_POSTGRES, FRAMING_MYSQL, FRAMING_KAFKA, FRAMING_MONGODB };

/* Who matches the requests, and the responses, of a connection: see match.h. Names for the first two that follow NONE are in agent/probe/records.go. */
enum match { MATCH_NONE, MATCH_OFFERED, MATCH_CONFIRMED, MATCH_SHADOW, MATCH_TAKEN, MATCH_BACK, MATCH_TORN };
/* What a word makes of the command, or the answer, that it begins. PLAIN: nothing; of Memcached from a field on `noreply` may follow. SECOND: the next word belongs to the name. BACK: user space follows the
   connection from there on. READ: keys follow from a field on. STORE: a field holds the length of the value behind the line. VALUE: likewise, and
   more follows. META: flags follow from a field on. META_STORE: behind a field that holds the length of a value. They are in agent/protocol/matched.go too. */
enum word { WORD_PLAIN, WORD_SECOND, WORD_BACK, WORD_READ, WORD_STORE, WORD_VALUE, WORD_META, WORD_META_STORE };

/* Where the messages of one direction stand. */
struct frame_t {
	__u64 left;   /* bytes of the message at hand to come */
	__u32 keep;   /* and how many of them are to be shipped */
	__u32 next;   /* sequence number that the next call begins at */
	__u32 passed; /* bytes in front of that which were not shipped, because nobody reads them */
	__u8 state;
	__u8 have; /* bytes of the message's head */
	__u8 rows; /* of the run at hand */
	__u8 pad;
	__u8 head[16];
};

struct conn_t {
	__u64 owner;
	__u64 peer;
	__u64 peer_sk;
	__u64 pair; /* hash of the pair's key; 0 while it is not bound */
	__u64 opened_ns;
	__u64 established_ns;
	__u64 last_rtt_ns;
	__u32 bound;
	__u32 netns;
	struct addr_t local;
	struct addr_t remote;
	struct addr_t actual;
	__u16 local_port;
	__u16 remote_port;
	__u16 actual_port;
	__u8 family;
	__u8 role;
	__u8 protocol;
	__u8 ignored;
	__u8 adopted; /* older than the agent: it is not counted as opened */
	__u8 synced;  /* every request so far was matched with its response */
	__u8 owned;   /* owner was taken from the process that does the I/O */
	__u8 failed;
	__u16 retransmits;
	__u64 closed_ns;     /* when it closed, and */
	__u32 closed_seq[2]; /* how far both streams were then */
	__u32 mmsg_next;     /* sendmmsg: number of the next message, and */
	__u32 error;	     /* that the socket reported while it connected */
	__u64 mmsg;	     /* the address of their array */
	__u32 skip[2];	     /* bytes of the call at hand, sent and received, that belong to what was spoken before */
	__u64 sent; /* not yet added to the pair */
	__u64 received;
	__u64 stream_ns; /* when what is shipped of it began, if that was not the connection's beginning */
	__u64 ssl;	 /* the TLS library's session on it (of rustls, which has two: SSL_RUSTLS), and */
	__u32 ssl_tgid;	 /* the process that has it */
	__u32 shipped;	 /* calls whose bytes were shipped */
	__u32 plain_seq[2]; /* as a sequence number: after the last byte of plain text, sent and received */
	__u8 tls;
	__u8 middle; /* what it says was met in the middle: adopted, or TLS that was open before it was probed */
	__u8 looks;  /* calls after which it was asked whether a TLS library made them */
	__u8 upgraded;	/* it became a WebSocket: 1 + the method of the request that asked for it; its route is last_route */
	__u8 announced; /* user space was told so */
	__u8 tunnel;	/* by CONNECT: its peer passes on what it says */
	__u8 framing;	/* of what is shipped */
	__u8 spoke;	/* last: 1 the client, 2 the server */
	__u32 client_isn; /* the sequence number of the SYN: both ends know it, also through NAT */
	__u8 whole;	/* rustls was seen to open its first records: no plain text went unseen */
	__u8 translated; /* its pair is for it alone: see translated() */
	__u8 match[2];	/* of requests and of responses, an enum match: who matches them */
	__u32 match_next[2]; /* likewise, the sequence number that the walk goes on at, and */
	__u32 match_at;	     /* that of requests where it began */
	__u8 matched;	     /* an enum protocol: what they are */
	__u8 pad2;
	__u16 unnamed;	     /* PostgreSQL: number of the operation of the unnamed statement, 0 where that is not known */
	__u32 requests;	 /* number of the next request */
	__u32 responses; /* number of the next response */
	__u64 last_route; /* in the dictionary for sure */
	__u32 share_at;	  /* a short span of time, and */
	__u32 share_used; /* bytes of the ring that it took in that */
	struct frame_t frames[2]; /* 0 sent, 1 received */
	struct stream_t streams[2]; /* likewise */
	struct slot_t slots[NUM_SLOTS];
};

struct source_key_t {
	struct addr_t addr;
	__u32 scope; /* network namespace for loopback addresses, else 0 */
	__u32 isn;   /* one port may have connections to many servers at once */
	__u16 port;
	__u16 pad;
};

struct source_t {
	__u64 sk;
};

struct pending_key_t {
	__u64 sk;
	__u32 seq;
	__u32 pad;
};

/* One piece of what a connection said, on the way to user space. */
/* HELLO: of the handshake of TLS, whatever is shipped of what is inside; without data: it ended. */
/* MARK to TORN: who matches the requests of a connection, see match.h. */
enum record_kind { RECORD_DATA, RECORD_CLOSE, RECORD_UPGRADE, RECORD_HELLO, RECORD_REQUEST, RECORD_DATAGRAM, RECORD_MARK, RECORD_TAKEN, RECORD_BACK, RECORD_TORN };

struct record_t {
	__u64 sk;
	__u64 opened_ns; /* with sk: the connection, or what it says since its plain text is seen */
	__u64 pair;	 /* 0 while it is not bound */
	__u64 now;
	__u32 seq;	/* TCP sequence number of the first byte */
	__u32 length;	/* bytes of data behind this */
	__u8 kind;
	__u8 direction; /* 0 sent, 1 received, by the owner */
	__u8 role;
	__u8 adopted;	/* it was met in the middle */
	__u32 passed;	/* bytes in front of it that were not shipped, because nobody reads them */
};

/* A datagram on the way to user space: it has no pair and no sequence number. */
struct datagram_t {
	struct record_t head;
	__u64 owner;
	struct addr_t local; /* zero where the socket is bound to all addresses */
	struct addr_t remote; /* zero where it is not known: received on a socket that is not connected */
	__u32 netns;
	__u16 local_port;
	__u16 remote_port;
};

/* The beginning of a DNS message, RFC 1035 section 4.1.1, and of the name it asks for. */
struct dns_head_t {
	__u16 id;
	__u8 flags; /* QR, opcode, AA, TC, RD */
	__u8 more;  /* RA, Z, AD, CD, RCODE */
	__u8 questions[2];
	__u8 answers[2];
	__u8 authorities[2];
	__u8 additionals[2];
	__u8 label; /* bytes of the first label */
	__u8 letter;
};

/* A UDP socket, as far as it was looked at. */
struct udp_t {
	__u64 array[2]; /* sendmmsg, recvmmsg: the address of the messages of the call under way, and */
	__u32 next[2];	/* the number of the next one */
	__u32 others;	/* datagrams in a row that were not DNS */
	__u16 port;
	__u16 pad;
};

/* A session of a TLS library (SSL *, gnutls_session_t) and the connection that it is on. */
struct tls_session_key_t {
	__u64 ssl;
	__u32 tgid;
	__u32 pad;
};

struct tls_session_t {
	__u64 sk;	 /* 0: not known yet */
	__u64 opened_ns; /* of the connection */
	__u64 vote_sk;	 /* a connection that it may be on */
	__u64 vote_opened_ns;
	__u64 retry; /* GnuTLS: the data of a call that is to be repeated without naming it; rustls: the decrypter of what was read last */
	__u8 votes;
	__u8 fresh; /* all calls on it were seen */
	__u8 torn;  /* rustls: plain text of it was lost */
	__u8 more;  /* rustls: what was read last filled its buffer, so that some of the same record may be left */
	__u8 pad[4];
};

/* A call of Go's (*Conn).Read that has not returned. */
struct go_call_key_t {
	__u64 g;
	__u64 depth; /* bytes of the goroutine's stack above the call */
	__u32 tgid;
	__u32 pad;
};

struct go_call_t {
	__u64 conn;
	__u64 buf; /* on the stack: bytes below its upper end, for stacks move */
	__u32 on_stack;
	__u32 pad;
};

/* A goroutine in a handshake on a connection whose socket is not found in memory. */
struct go_wait_key_t {
	__u64 g;
	__u32 tgid;
	__u32 pad;
};

/* The beginning of a record that a session in Java has made and not yet written; the value is the session, 0 for several. */
struct java_print_key_t {
	__u64 print; /* java_print() */
	__u32 tgid;
	__u32 pad;
};

/* A JVM with the library of agent/java in it. */
struct java_process_t {
	__u64 seen_ns; /* what connections say that were opened later is seen from the beginning */
	__u32 off;     /* the hooks in it have switched themselves off */
	__u32 pad;
};

/* Before the beginning of the first request in HTTP/1 to another machine: who asks, and where that is. The pair is not known yet. */
struct asked_t {
	__u64 owner;
	struct addr_t remote;
	__u16 remote_port;
	__u16 pad[3];
};

/* Behind the record of an upgrade. Its seq is where the direction of the response goes on. */
struct upgrade_t {
	__u64 route; /* in the dictionary */
	__u32 seq;   /* where the other direction goes on */
	__u8 method;
	__u8 torn;   /* the other direction is in the middle of something */
	__u8 pad[2];
};

/* What user space has decided of a shipped connection. */
struct verdict_t {
	__u64 opened_ns;
	__u32 protocol; /* an enum protocol; with match, of what is matched */
	__u32 framing;	/* an enum framing */
	__u32 match;	/* an enum match: OFFERED, CONFIRMED or nothing */
	__u32 match_at; /* what is confirmed; of an offer, anything that tells it from the one before */
};

/* A word of a protocol that the kernel matches: of an operation or an answer. */
struct word_t {
	__u16 number;
	__u8 kind;  /* an enum word */
	__u8 field; /* that its kind speaks of: the number of words before it */
	__u8 pad[4];
};

/* What an operation of SQL is known by: a statement's text (the hash of sql.h; the rest is 0), or the number or hashed name of a prepared one. */
struct statement_key_t {
	__u64 sk;
	__u64 opened_ns; /* with sk: the connection, as in a record */
	__u64 id;
};
