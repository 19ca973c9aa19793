/* SPDX-License-Identifier: GPL-2.0-only */
/* What every technique uses: its arguments, the four ways in which it may end, and the goals.
 *
 *   nbsp-attempt NAME KEY=VALUE...        one technique, once
 *   nbsp-attempt --list                   the names
 *
 * exit status, and the last line on stdout
 *    0  done        the forbidden thing happened, as far as the technique can tell; whoever started it looks for proof
 *   10  blocked     a step was refused with EPERM or EACCES:   "blocked STEP: ERRNO"
 *   11  silent      everything was let through, but no answer came or the device dropped it
 *   20  absent      this kernel or host does not have it:      "absent REASON"
 *   30  broken      something else went wrong: our bug         "broken STEP: ERRNO"
 */
#ifndef NBSP_ATTEMPT_H
#define NBSP_ATTEMPT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { DONE = 0, BLOCKED = 10, SILENT = 11, ABSENT = 20, BROKEN = 30 };

/* A technique: TECHNIQUE("name") void function(void) ends by done() or by one of the others. */
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TECHNIQUE_(name, n)                                                                                            \
	static void JOIN(technique_, n)(void);                                                                         \
	__attribute__((constructor)) static void JOIN(enlist_, n)(void) { enlist(name, JOIN(technique_, n)); }         \
	static void JOIN(technique_, n)(void)
#define TECHNIQUE(name) TECHNIQUE_(name, __LINE__)
#define ROLE(name) TECHNIQUE_(name, __LINE__)	/* no attempt, but what a checkpoint or protected program does in one */
void enlist(const char *name, void (*run)(void));
void perform(const char *name);		/* another technique, in this process */

/* -- ends */
_Noreturn void done(void);
_Noreturn void end(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));
_Noreturn void failed(const char *step);	/* says by errno whether it was blocked, absent or broken */
long ok(long result, const char *step);		/* a negative result is failed(step) */
long need(long result, const char *step);	/* as ok, but a refusal means that the host does not offer it: absent */
#define absent(...) end(ABSENT, __VA_ARGS__)
#define broken(...) end(BROKEN, __VA_ARGS__)

/* -- arguments */
const char *given(const char *key);		/* broken when it was not given */
const char *perhaps(const char *key, const char *otherwise);
long number(const char *key, long otherwise);
bool is(const char *key, const char *value);
char *text(const char *format, ...) __attribute__((format(printf, 1, 2)));	/* never freed: the process is short */
const char *scratch(const char *name);		/* a path in the folder of our own */
const char *folder_of(const char *path);
const char *name_of(const char *path);

/* -- goals: read, write, exec, connect and send (unix sockets by their path), by a path or by a descriptor */
_Noreturn void reach(const char *path);
_Noreturn void reach_fd(int fd);
_Noreturn void reach_at(int dir, const char *name);
void show(int fd);				/* prints all that can be read there */
void show_bytes(const void *bytes, size_t size);
void put_token(int fd);
int open_flags(void);				/* O_RDONLY or O_WRONLY | O_APPEND, as the goal wants; to act is to write nothing */
_Noreturn void run_program(char *const argv[]);	/* a child; its output is ours; done when it exits with 0 */
_Noreturn void ask_program(char *const argv[], const char *named);	/* the same; blocked when it says that `named` was refused */
int wait_for(pid_t pid);			/* wait(2) status; a child killed with SIGKILL makes us blocked */
_Noreturn void become(pid_t pid);		/* ends as that child ended */
void die_with_parent(void);
void fill(const char *path, const char *content);
void copy_file(const char *from, const char *to, mode_t mode);

/* -- places */
void own_mounts(void);				/* a mount namespace of our own; via=userns: in a user namespace of our own */
bool in_userns(void);
void write_text(const char *path, const char *content);
bool set_text(const char *path, const char *content);
void mount_or_fail(const char *from, const char *to, const char *type, unsigned long flags, const char *data);

/* -- network */
struct address {
	struct sockaddr_storage storage;
	socklen_t size;
};
struct address address_of(const char *host, int port);	/* "::1%3" has a scope */
struct address given_address(void);			/* address= port= */
struct address unix_address(const char *name);		/* "@x" is abstract */
int tcp_socket(int family, int protocol);
int udp_socket(int family);
_Noreturn void greet(int fd);				/* reads the greeting, says the token */
_Noreturn void sent(long result, const char *step);
_Noreturn void send_frame(const char *card, const char *from, const char *to_address);	/* an IPv6 datagram in Ethernet */
int contacted(struct address to);			/* over=udp | tcp: exit status of a child that got in contact */
int command(const char *format, const char *argument);	/* wait status of a line of shell */
void wait_until_settled(void);

/* -- processes */
pid_t start_checkpoint(int out, ...);			/* the checkpoint with these words up to NULL; out: its stdout, or -1 */
struct holder {
	pid_t pid;
	int fd;			/* of the target, in that process */
	int out;		/* its standard output, to be read */
	unsigned long address;	/* of what it read, in its memory */
} start_holder(const char *what);			/* a checkpoint that holds the target: file, tcp, unix */
void wait_for_rules(void);				/* says that all is prepared and waits until the rules are active */
void send_fd(int over, int fd);
int receive_fd(int over);
int receive_from_checkpoint(void);	/* what it reached, by SCM_RIGHTS */

#endif
