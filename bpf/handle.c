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

/* The policy of where the socket of a file is connected, 0 for none; `key` must last as long as the question. */
static __always_inline __u32 socket_policy(struct question *q, void *file, struct endpoint_key *key)
{
	void *socket = 0, *sk = 0, *peer = 0;
	__u16 family = 0;

	q->wanted = ACCESS_CONNECT;
	READ(socket, file, file, private_data);
	READ(sk, socket, socket, sk);
	READ(family, sk, sock, skc_family);
	if (family == AF_UNIX) {
		READ(peer, sk, unix_sock, peer);	/* of a stream, also before it is accepted: it has the listener's name */
		return peer ? unix_policy(q, peer) : 0;
	}
	if (!remote_endpoint(sk, key) || !port_guarded(q->slot, key->proto, swap16(key->port)))
		return 0;
	q->kind = KIND_ENDPOINT;
	q->addr = key->addr;
	q->port = swap16(key->port);
	q->proto = key->proto;
	return endpoint_policy(q->slot, key);
}

/* Judges having an open file, of whatever sort; one question, since the stack has no room for more. */
static __always_inline int check_file(struct file *file, __u8 channel)
{
	struct question q = { .channel = channel };
	struct endpoint_key key = {};
	int slot = active_slot();

	if (slot < 0)
		return 0;
	q.slot = slot;
	if (is_socket(file)) {
		q.policy = socket_policy(&q, file, &key);
	} else {
		q.wanted = ((file->f_mode & FMODE_READ) ? ACCESS_READ : 0) | ((file->f_mode & FMODE_WRITE) ? ACCESS_WRITE : 0);
		if (!q.wanted)
			return 0;
		q.dentry = file->f_path.dentry;
		q.policy = find_policy(&q, q.dentry, 0);
		if (!q.policy)
			q.policy = device_policy(&q, file->f_inode);
	}
	if (!q.policy)
		return 0;
	q.stamp = stamp_of((void *)bpf_get_current_task());
	return judge(&q, CAN_SIGNAL);
}

HOOK(file_receive, security_file_receive)
{
	RESPECT_EARLIER(file_receive);
	return check_file(ARG(file_receive, file, struct file *), CHANNEL_RECEIVE);
}

#endif
