//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Sockets that were open before the programs were attached: every file of every task is looked at, listeners in a first walk. */
#include "include/io.h"

SEC("iter/task_file")
int walk_listeners(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk;

	if (!task || !ctx->file)
		return 0;
	sk = socket_of_file(ctx->file);
	if (!sk || BPF_CORE_READ(sk, __sk_common.skc_state) != TCP_LISTEN)
		return 0;
	struct listener_key_t k;
	listener_key(sk, &k);
	if (!bpf_map_lookup_elem(&listeners, &k))
		on_listen(sk, task, SCRATCH_WALK);
	return 0;
}

SEC("iter/task_file")
int walk_connections(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct sock *sk;
	struct conn_t *c;
	__u64 key, now;
	__u8 state;

	if (!task || !ctx->file)
		return 0;
	sk = socket_of_file(ctx->file);
	if (!sk)
		return 0;
	state = BPF_CORE_READ(sk, __sk_common.skc_state);
	if (state == TCP_LISTEN || state == TCP_CLOSE || state == TCP_SYN_SENT)
		return 0;
	key = (__u64)sk;
	now = bpf_ktime_get_ns();
	c = bpf_map_lookup_elem(&conns, &key);
	if (c)
		return 0;
	c = adopt(sk, now);
	if (!c)
		return 0;
	c->owned = 1;
	c->owner = owner_of(task, SCRATCH_WALK, &c->ignored);
	if (c->ignored)
		return 0;
	if (c->role == ROLE_CLIENT) {
		struct source_key_t k;
		struct source_t v = {.sk = key};
		source_key(&k, c);
		bpf_map_update_elem(&sources, &k, &v, BPF_ANY);
	}
	return 0;
}

/* Third walk: joins the two ends of connections on this machine, then binds both. */
SEC("iter/task_file")
int walk_pairs(struct bpf_iter__task_file *ctx)
{
	struct sock *sk;
	struct conn_t *c;
	__u64 key, now;

	if (!ctx->task || !ctx->file)
		return 0;
	sk = socket_of_file(ctx->file);
	if (!sk)
		return 0;
	key = (__u64)sk;
	c = bpf_map_lookup_elem(&conns, &key);
	if (!c || !c->adopted || c->ignored || c->bound || c->role != ROLE_SERVER)
		return 0;
	now = bpf_ktime_get_ns();
	join(c, key, now);
	bind_established(c, now);
	return 0;
}
