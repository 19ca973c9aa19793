/* SPDX-License-Identifier: GPL-2.0-only */
/* H12, the monitor: the daemon monitor=PID, its pins, its files. What does no harm when it gets through may be tried on a
 * live host (a signal that is ignored, a value written back as it was); the rest only in the lab. */
#include "attempt.h"

#include <dirent.h>
#include <linux/bpf.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static pid_t monitor(void)
{
	return strtol(given("monitor"), NULL, 10);
}

TECHNIQUE("monitor-signal")	/* signal=; by=kill | tgkill | pidfd | queue */
{
	int signal_ = number("signal", SIGURG), pidfd;
	union sigval none = {0};

	if (is("by", "pidfd")) {
		pidfd = ok(syscall(SYS_pidfd_open, monitor(), 0), "pidfd_open");
		ok(syscall(SYS_pidfd_send_signal, pidfd, signal_, NULL, 0), "pidfd_send_signal");
	} else if (is("by", "tgkill")) {
		ok(syscall(SYS_tgkill, monitor(), monitor(), signal_), "tgkill");
	} else if (is("by", "queue")) {
		ok(sigqueue(monitor(), signal_, none), "sigqueue");
	} else {
		ok(kill(monitor(), signal_), "kill");
	}
	if (signal_ == SIGSTOP) {	/* it has been shown; others are still to be tried on it */
		usleep(100000);
		kill(monitor(), SIGCONT);
	}
	done();
}

TECHNIQUE("monitor-owner")	/* a signal by F_SETOWN: the kernel sends it for us when a pipe has something (lab: it stops) */
{
	char state = 0;
	FILE *stat;
	int fds[2];

	ok(pipe(fds), "pipe");
	ok(fcntl(fds[0], F_SETOWN, monitor()), "F_SETOWN");
	ok(fcntl(fds[0], F_SETSIG, SIGSTOP), "F_SETSIG");
	ok(fcntl(fds[0], F_SETFL, O_ASYNC | O_NONBLOCK), "O_ASYNC");
	ok(write(fds[1], "!", 1), "write");
	usleep(100000);
	stat = fopen(text("/proc/%d/stat", monitor()), "r");
	if (!stat || fscanf(stat, "%*d (%*[^)]) %c", &state) != 1)
		failed("read of /proc/PID/stat");
	if (state != 'T') {		/* nobody tells the sender */
		errno = EPERM;
		failed("a signal by F_SETOWN");
	}
	kill(monitor(), SIGCONT);
	done();
}

TECHNIQUE("monitor-debug")	/* by=attach | seize, and let go at once */
{
	ok(ptrace(is("by", "seize") ? PTRACE_SEIZE : PTRACE_ATTACH, monitor(), 0, 0), "ptrace");
	if (is("by", "seize"))
		ok(ptrace(PTRACE_INTERRUPT, monitor(), 0, 0), "PTRACE_INTERRUPT");
	waitpid(monitor(), NULL, __WALL);
	ptrace(PTRACE_DETACH, monitor(), 0, 0);
	done();
}

static unsigned long readable_address(void)
{
	FILE *maps = fopen(text("/proc/%d/maps", monitor()), "r");
	unsigned long start = 0;

	if (!maps)
		failed("open /proc/PID/maps");
	if (fscanf(maps, "%lx", &start) != 1)
		failed("read of /proc/PID/maps");
	return start;
}

TECHNIQUE("monitor-memory")	/* by=mem | process_vm: a byte is read */
{
	unsigned long address = readable_address();
	struct iovec here = {(char[8]){0}, 8}, there = {(void *)address, 8};

	if (is("by", "process_vm"))
		ok(process_vm_readv(monitor(), &here, 1, &there, 1, 0), "process_vm_readv");
	else
		ok(pread(ok(open(text("/proc/%d/mem", monitor()), O_RDWR), "open /proc/PID/mem"), here.iov_base, 8, address), "read");
	done();
}

TECHNIQUE("monitor-descriptor")	/* pidfd_getfd of one of its descriptors; by=proc: opened again */
{
	if (is("by", "proc"))
		ok(open(text("/proc/%d/fd/0", monitor()), O_RDONLY), "open /proc/PID/fd/0");
	else
		ok(syscall(SYS_pidfd_getfd, ok(syscall(SYS_pidfd_open, monitor(), 0), "pidfd_open"), 0, 0), "pidfd_getfd");
	done();
}

TECHNIQUE("monitor-setting")	/* what=oom | nice | limit | affinity | scheduler: written back as it was, or nearly */
{
	const char *what = given("what");
	struct rlimit limit;
	cpu_set_t set;

	if (!strcmp(what, "oom")) {
		char value[32] = {0};
		int fd = ok(open(text("/proc/%d/oom_score_adj", monitor()), O_RDWR), "open oom_score_adj");

		ok(read(fd, value, sizeof(value) - 1), "read");
		ok(pwrite(fd, value, strlen(value), 0), "write of oom_score_adj");
	} else if (!strcmp(what, "nice")) {
		ok(setpriority(PRIO_PROCESS, monitor(), getpriority(PRIO_PROCESS, monitor())), "setpriority");
	} else if (!strcmp(what, "limit")) {
		ok(prlimit(monitor(), RLIMIT_CORE, NULL, &limit), "prlimit");
		ok(prlimit(monitor(), RLIMIT_CORE, &limit, NULL), "prlimit");
	} else if (!strcmp(what, "affinity")) {
		ok(sched_getaffinity(monitor(), sizeof(set), &set), "sched_getaffinity");
		ok(sched_setaffinity(monitor(), sizeof(set), &set), "sched_setaffinity");
	} else {
		struct sched_param none = {0};

		ok(sched_setscheduler(monitor(), SCHED_OTHER, &none), "sched_setscheduler");
	}
	done();
}

TECHNIQUE("monitor-freeze")	/* its cgroup, by what=freeze | kill | move (lab) */
{
	const char *group = given("group");

	if (access(text("%s/cgroup.procs", group), F_OK))
		absent("%s is no cgroup of version 2", group);
	if (is("what", "move")) {
		write_text(text("%s/cgroup.procs", given("elsewhere")), text("%d", monitor()));
	} else if (is("what", "kill")) {
		write_text(text("%s/cgroup.kill", group), "1");
	} else {
		write_text(text("%s/cgroup.freeze", group), "1");
		write_text(text("%s/cgroup.freeze", group), "0");
	}
	done();
}

static long bpf(int command, union bpf_attr *attributes)
{
	return syscall(SYS_bpf, command, attributes, sizeof(*attributes));
}

static const char *pin(void)	/* the first pinned thing below pins= whose kind is of=maps | links */
{
	DIR *top = opendir(given("pins")), *inner;
	struct dirent *entry, *leaf;

	if (!top)
		failed("open of the pins' folder");
	while ((entry = readdir(top)))
		if (!strncmp(entry->d_name, perhaps("of", "maps"), strlen(perhaps("of", "maps")))) {
			inner = opendir(text("%s/%s", given("pins"), entry->d_name));
			if (!inner)
				failed("open of a folder of pins");
			while ((leaf = readdir(inner)))
				if (leaf->d_name[0] != '.')
					return text("%s/%s/%s", given("pins"), entry->d_name, leaf->d_name);
		}
	absent("nothing of %s is pinned in %s", perhaps("of", "maps"), given("pins"));
}

static int pinned(void)
{
	union bpf_attr attributes = {.pathname = (uintptr_t)pin()};

	return ok(bpf(BPF_OBJ_GET, &attributes), "BPF_OBJ_GET");
}

/* Every map, program or link of the kernel, by its number: whether all of them, ours among them, can be opened. */
static int all_by_id(int next, int get, const char *what)
{
	union bpf_attr attributes = {0};
	int fd = -1;

	while (bpf(next, &attributes) == 0) {
		union bpf_attr one = {.map_id = attributes.next_id};

		if (fd >= 0)
			close(fd);
		fd = bpf(get, &one);
		if (fd < 0 && errno != ENOENT)
			failed(what);
		attributes = (union bpf_attr){.start_id = attributes.next_id};
	}
	if (errno != ENOENT)
		failed(what);
	if (fd < 0)
		absent("%s: there is none in this kernel", what);
	return fd;
}

TECHNIQUE("monitor-map")	/* how=pin | id (each of the kernel's): opened; then=nothing | look | write | freeze (lab: write, freeze) */
{
	struct bpf_map_info info = {0};
	union bpf_attr attributes = {0};
	char key[512] = {0}, *value;
	int map;

	map = is("how", "id") ? all_by_id(BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID, "BPF_MAP_GET_FD_BY_ID") : pinned();
	if (is("then", "look") || is("then", "write")) {
		attributes.info.bpf_fd = map;
		attributes.info.info_len = sizeof(info);
		attributes.info.info = (uintptr_t)&info;
		ok(bpf(BPF_OBJ_GET_INFO_BY_FD, &attributes), "BPF_OBJ_GET_INFO_BY_FD");
		value = calloc(1024, info.value_size + 8);
		attributes = (union bpf_attr){.map_fd = map, .key = (uintptr_t)key, .value = (uintptr_t)value};
		if (bpf(is("then", "write") ? BPF_MAP_UPDATE_ELEM : BPF_MAP_LOOKUP_ELEM, &attributes) < 0 && errno != ENOENT)
			failed("a look into the map");
	}
	if (is("then", "freeze")) {
		attributes = (union bpf_attr){.map_fd = map};
		ok(bpf(BPF_MAP_FREEZE, &attributes), "BPF_MAP_FREEZE");
	}
	done();
}

TECHNIQUE("monitor-program")	/* of=programs | links: each opened by its number; then=detach (lab) */
{
	union bpf_attr attributes = {0};

	if (is("of", "links"))
		all_by_id(BPF_LINK_GET_NEXT_ID, BPF_LINK_GET_FD_BY_ID, "BPF_LINK_GET_FD_BY_ID");
	else
		all_by_id(BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID, "BPF_PROG_GET_FD_BY_ID");
	if (is("then", "detach")) {
		attributes = (union bpf_attr){.link_detach.link_fd = pinned()};
		ok(bpf(BPF_LINK_DETACH, &attributes), "BPF_LINK_DETACH");
	}
	done();
}

TECHNIQUE("monitor-pin")	/* how=unlink | rename | cover | unmount (all lab) */
{
	if (is("how", "unlink"))
		ok(unlink(pin()), "unlink of a pin");
	else if (is("how", "rename"))
		ok(rename(pin(), text("%s-moved", pin())), "rename of a pin");
	else if (is("how", "cover"))
		mount_or_fail("tmpfs", given("pins"), "tmpfs", 0, NULL);
	else
		ok(umount2(given("bpffs"), MNT_DETACH), "umount of bpffs");
	done();
}

TECHNIQUE("monitor-file")	/* file= of the daemon: opened for writing, nothing written; how=create | rename | unlink (of a new file) */
{
	const char *file = given("file");

	if (is("how", "create")) {
		file = text("%s/98-drill.yaml", file);
		ok(open(file, O_WRONLY | O_CREAT | O_EXCL, 0600), "create");
		unlink(file);
	} else if (is("how", "rename")) {
		ok(rename(file, text("%s.away", file)), "rename");
		ok(rename(text("%s.away", file), file), "rename back");
	} else {
		if (access(file, F_OK))
			absent("there is no %s", file);
		ok(open(file, O_WRONLY | O_APPEND), "open for writing");
	}
	done();
}
