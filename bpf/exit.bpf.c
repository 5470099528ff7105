//go:build ignore

/* SPDX-License-Identifier: (GPL-2.0 OR BSD-2-Clause) */
/* Processes that end in a way that somebody should know of: by a fault, for want of memory, or as the first one of a container. */
#include "include/owner.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct signal_struct {
	struct {
		int counter;
	} live;
	int group_exit_code;
	struct mm_struct *oom_mm;
};
struct task_struct___exit {
	unsigned int flags;
	int exit_code;
	__u64 start_time;
	struct pid *thread_pid;
	struct signal_struct *signal;
	struct task_struct___exit *group_leader;
};
struct kernel_siginfo;
#pragma clang attribute pop

#define SIG(n) (1ULL << (n))
/* ILL, TRAP, ABRT, BUS, FPE, SEGV, XCPU, XFSZ, SYS: they end who does not handle them, and leave a core. */
#define FAULTS (SIG(4) | SIG(5) | SIG(6) | SIG(7) | SIG(8) | SIG(11) | SIG(24) | SIG(25) | SIG(31))
#define SIGNAL_KILL 9
#define KERNEL_THREAD 0x00200000 /* PF_KTHREAD */

/* What a process was when a signal came that may end it: at its end it has no executable any more. */
struct signalled_t {
	__u64 owner;
	__u64 exe_ino;
	__u32 exe_dev;
	__u32 pad;
	char exe[64];
};

/* agent/probe/exits.go reads it. */
struct exit_t {
	__u64 owner;
	__u64 started; /* ns since boot: with the pid, which process it was */
	__u32 pid;
	__u32 code;    /* as wait(2) has it */
	__u8 no_memory;
	__u8 first;    /* of a pid namespace: the main process of a container */
	__u8 pad[6];
};

LRU_MAP(signalled, __u32, struct signalled_t, 1024);
ARRAY_MAP(exit_ids, BPF_MAP_TYPE_PERCPU_ARRAY, struct task_ids, 2); /* the programs of connections may run in the middle of these */
ARRAY_MAP(exit_owner, BPF_MAP_TYPE_PERCPU_ARRAY, struct owner_t, 1);
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} exits SEC(".maps");

SEC("tp_btf/signal_generate")
int BPF_PROG(signal_sent, int sig, struct kernel_siginfo *info, struct task_struct *task)
{
	struct signalled_t s = {};
	struct task_ids *t;
	struct file *exe;
	__u32 key = 0, pid;

	if (sig <= 0 || sig > 63 || !((FAULTS | SIG(SIGNAL_KILL)) & SIG(sig)))
		return 0;
	t = bpf_map_lookup_elem(&exit_ids, &key);
	if (!t)
		return 0;
	s.owner = task_hash(task, t);
	exe = (struct file *)t->exe;
	if (!exe) /* it is at its end already, or of the kernel */
		return 0;
	s.exe_ino = t->ino;
	s.exe_dev = t->dev;
	bpf_probe_read_kernel_str(s.exe, sizeof(s.exe), BPF_CORE_READ(exe, f_path.dentry, d_name.name));
	pid = BPF_CORE_READ(task, tgid);
	bpf_map_update_elem(&signalled, &pid, &s, BPF_ANY);
	return 0;
}

/* Whether a process is the first one of a pid namespace below the machine's own. */
static __always_inline int is_first(struct task_struct___exit *task)
{
	struct pid *pid = BPF_CORE_READ(task, group_leader, thread_pid);
	__u32 level = BPF_CORE_READ(pid, level);
	int nr = 0;

	if (!level || level > 32)
		return 0;
	bpf_probe_read_kernel(&nr, sizeof(nr), (void *)pid + bpf_core_field_offset(pid->numbers) + level * bpf_core_type_size(struct upid));
	return nr == 1;
}

/* Records who a process was, where no connection of it did so before. */
static __always_inline __u64 ended_owner(struct task_struct *task, __u32 pid)
{
	struct signalled_t *s = bpf_map_lookup_elem(&signalled, &pid);
	__u32 zero = 0, one = 1;
	struct task_ids *t = bpf_map_lookup_elem(&exit_ids, &one);
	struct owner_t *o = bpf_map_lookup_elem(&exit_owner, &zero);
	__u64 id;

	if (!t || !o)
		return 0;
	id = task_hash(task, t);
	if (s)
		id = s->owner;
	if (bpf_map_lookup_elem(&owners, &id))
		return id;
	o->routes = 0;
	o->overflow = 0;
	o->exe_ino = 0;
	o->exe_dev = 0;
	o->exe[0] = 0;
	o->cgroup_v1 = t->v1;
	o->cgroup_v2 = t->v2;
	o->netns = t->netns;
	o->pid = pid;
	o->ignored = is_ignored(t->v1) || is_ignored(t->v2);
	BPF_CORE_READ_STR_INTO(&o->comm, task, group_leader, comm);
	if (s) {
		o->exe_ino = s->exe_ino;
		o->exe_dev = s->exe_dev;
		__builtin_memcpy(o->exe, s->exe, sizeof(o->exe));
	}
	record_path(o->path_v1, (struct kernfs_node *)t->kn_v1);
	record_path(o->path_v2, (struct kernfs_node *)t->kn_v2);
	if (bpf_map_update_elem(&owners, &id, o, BPF_NOEXIST) == -7 /* E2BIG */)
		count_lost(LOST_OWNERS_FULL, 1);
	return id;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(process_exit, struct task_struct *task)
{
	struct task_struct___exit *ending = (void *)task;
	struct signal_struct *signal = BPF_CORE_READ(ending, signal);
	__u32 pid = BPF_CORE_READ(task, tgid);
	struct exit_t *e;
	__u8 no_memory, first;
	__u32 code;

	if (BPF_CORE_READ(signal, live.counter) || (BPF_CORE_READ(ending, flags) & KERNEL_THREAD))
		return 0; /* other threads go on */
	code = BPF_CORE_READ(signal, group_exit_code);
	if (!code)
		code = BPF_CORE_READ(ending, exit_code);
	if (!code)
		return 0;
	no_memory = (code & 0x7f) == SIGNAL_KILL && BPF_CORE_READ(signal, oom_mm) != NULL;
	first = is_first(ending);
	if (!no_memory && !first && !(FAULTS & SIG(code & 0x3f)))
		return 0;
	e = bpf_ringbuf_reserve(&exits, sizeof(*e), 0);
	if (!e) {
		count_lost(LOST_EXITS_FULL, 1);
		return 0;
	}
	e->owner = ended_owner(task, pid);
	e->started = BPF_CORE_READ(ending, group_leader, start_time);
	e->pid = pid;
	e->code = code;
	e->no_memory = no_memory;
	e->first = first;
	__builtin_memset(e->pad, 0, sizeof(e->pad));
	bpf_ringbuf_submit(e, 0);
	bpf_map_delete_elem(&signalled, &pid);
	return 0;
}
