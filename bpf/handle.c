/*
 * Handles that others opened.  (tiers lsm and fmod_ret)
 *
 * file_receive   an fd that arrives by SCM_RIGHTS or pidfd_getfd, or is installed by a seccomp supervisor or a ring: a file
 *                is judged as if the receiver opened it, a socket as if the receiver connected it to where it is connected
 *
 * A socket is judged by its own peer and not by its stamps: they say who connected it, and the question is who has it now.
 * One that is connected to nothing can be received: what is done with it later is judged when it is done, with the stamps
 * of who does it.  So can a listening one.
 */

#ifndef NBSP_TIER_SOCKET

#define S_IFSOCK 0140000
#define SOCKFS_MAGIC 0x534F434B
#define AF_UNIX 1

static __always_inline int check_endpoint_of(void *sk, __u8 channel)
{
	struct question q = { .channel = channel, .wanted = ACCESS_CONNECT, .kind = KIND_ENDPOINT };
	struct endpoint_key key = {};
	int slot = active_slot();

	if (slot < 0 || !remote_endpoint(sk, &key) || !port_guarded(slot, key.proto, swap16(key.port)))
		return 0;
	q.slot = slot;
	q.policy = endpoint_policy(slot, &key);
	if (!q.policy)
		return 0;
	q.addr = key.addr;
	q.port = swap16(key.port);
	q.proto = key.proto;
	q.stamp = stamp_of((void *)bpf_get_current_task());
	return judge(&q, CAN_SIGNAL);
}

/* Is it a socket?  A unix socket's name in a file system has that mode, too, and an fd of it reaches nothing. */
static __always_inline int is_socket(void *file)
{
	void *inode = 0, *sb = 0;
	unsigned long magic = 0;
	__u16 mode = 0;

	READ(inode, file, file, f_inode);
	READ(mode, inode, inode, i_mode);
	if ((mode & S_IFMT) != S_IFSOCK)
		return 0;
	READ(sb, inode, inode, i_sb);
	READ(magic, sb, super_block, s_magic);
	return magic == SOCKFS_MAGIC;
}

/* Judges having the socket of a file; the pointer may come from anywhere. */
static __always_inline int check_socket(void *file, __u8 channel)
{
	void *socket = 0, *sk = 0, *peer = 0;
	__u16 family = 0;

	READ(socket, file, file, private_data);
	READ(sk, socket, socket, sk);
	READ(family, sk, sock, skc_family);
	if (family != AF_UNIX)
		return check_endpoint_of(sk, channel);
	READ(peer, sk, unix_sock, peer);	/* of a stream, also before it is accepted: it has the listener's name */
	return peer ? check_unix(peer, channel) : 0;
}

/* Judges having an open file, of whatever sort. */
static __always_inline int check_file(struct file *file, __u8 channel)
{
	__u8 wanted = 0;

	if (is_socket(file))
		return check_socket(file, channel);
	if (file->f_mode & FMODE_READ)
		wanted |= ACCESS_READ;
	if (file->f_mode & FMODE_WRITE)
		wanted |= ACCESS_WRITE;
	return wanted ? check_dentry(file->f_path.dentry, channel, wanted, 0) : 0;
}

HOOK(file_receive, security_file_receive)
{
	RESPECT_EARLIER(file_receive);
	return check_file(ARG(file_receive, file, struct file *), CHANNEL_RECEIVE);
}

#endif
