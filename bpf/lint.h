/* What bcc gives the programs, as plain declarations: only for clang's eyes in bpf/lint. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#define BPF_F_TABLE(_type, _key, _leaf, _name, _entries, _flags) \
struct _name##_table_t { \
	_key key; \
	_leaf leaf; \
	_leaf *(*lookup)(_key *); \
	int (*update)(_key *, _leaf *); \
	int (*delete)(_key *); \
	void *(*sk_storage_get)(void *, void *, int); \
	u32 max_entries; \
	int flags; \
}; \
__attribute__((section("maps/" _type))) struct _name##_table_t _name = { .flags = (_flags), .max_entries = (_entries) }

void *bpf_map_lookup_elem(void *map, const void *key);
long bpf_probe_read_kernel(void *dst, u32 size, const void *src);
long bpf_probe_read_kernel_str(void *dst, u32 size, const void *src);
long bpf_probe_read_user(void *dst, u32 size, const void *src);
u64 bpf_get_current_task(void);
u64 bpf_get_current_pid_tgid(void);
u64 bpf_get_current_cgroup_id(void);
u64 bpf_ktime_get_boot_ns(void);
long bpf_send_signal(u32 signal);
struct bpf_sock *bpf_sk_fullsock(struct bpf_sock *sk);
long bpf_skb_pull_data(void *skb, u32 size);
long bpf_skb_load_bytes_relative(const void *skb, u32 offset, void *to, u32 size, u32 start);
