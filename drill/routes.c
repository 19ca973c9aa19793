/* SPDX-License-Identifier: GPL-2.0-only */
/* H4: the address that is asked for is not the address that is reached, or is asked for somewhere else. As root. */
#include "attempt.h"

#include <linux/vm_sockets.h>
#include <sched.h>
#include <sys/wait.h>

TECHNIQUE("new-address")	/* one more address on the loopback device, made after the rules; over=tcp | udp */
{
	int status;

	if (command("ip address add %s dev lo scope link", text("%s/%s", given("address"), strchr(given("address"), ':') ? "128 nodad" : "32")))
		broken("the address cannot be added");
	wait_until_settled();
	status = contacted(given_address());
	command("ip address del %s dev lo", text("%s/%d", given("address"), strchr(given("address"), ':') ? 128 : 32));
	_exit(status);
}

TECHNIQUE("any-address")	/* a route that makes a network of others local */
{
	bool is_6 = strchr(given("address"), ':');
	int status;

	if (command(is_6 ? "ip -6 route add local %s dev lo" : "ip route add local %s dev lo", given("network")))
		broken("the route cannot be added");
	status = contacted(given_address());
	command(is_6 ? "ip -6 route del local %s dev lo" : "ip route del local %s dev lo", given("network"));
	_exit(status);
}

TECHNIQUE("link-local")		/* fe80::…%device: an address that needs a scope */
{
	int status;

	if (command("ip -6 address add %s/64 dev lo nodad scope link", given("address")))
		broken("the address cannot be added");
	wait_until_settled();
	status = contacted(address_of(text("%s%%lo", given("address")), number("port", 0)));
	command("ip -6 address del %s/64 dev lo", given("address"));
	_exit(status);
}

TECHNIQUE("other-namespace")	/* from another network namespace, over a pair of virtual cards; over=tcp | udp | frame */
{
	int ready[2], go[2], status;
	char byte;
	pid_t child;

	ok(pipe(ready), "pipe");
	ok(pipe(go), "pipe");
	child = ok(fork(), "fork");
	if (!child) {
		die_with_parent();
		ok(unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)");
		if (write(ready[1], "!", 1) != 1 || read(go[0], &byte, 1) != 1)
			_exit(BROKEN);
		if (command("ip link set %s up && ip -6 address add fd77:8::2/64 dev nbspdrillb nodad", "nbspdrillb"))
			broken("the card in the namespace cannot be set up");
		wait_until_settled();
		if (is("over", "frame"))
			send_frame("nbspdrillb", "fd77:8::2", "\2\0\0\0\0\1");
		_exit(contacted(given_address()));
	}
	ok(read(ready[0], &byte, 1), "read");
	status = command("ip link add nbspdrilla address 02:00:00:00:00:01 type veth peer name nbspdrillb netns %s && "
			 "ip link set nbspdrilla up && ip -6 address add fd77:8::1/64 dev nbspdrilla nodad", text("%d", child));
	if (status) {
		if (command("ip link show nbspdrilla 2>/dev/null%s", ""))
			absent("this kernel makes no veth");
		broken("the pair of cards cannot be set up");
	}
	wait_until_settled();
	ok(write(go[1], "!", 1), "write");
	waitpid(child, &status, 0);
	usleep(100000);		/* a frame arrives a little later than it was sent */
	command("ip link del %s", "nbspdrilla");
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : BLOCKED);
}

TECHNIQUE("socket-from-elsewhere")	/* made in another network namespace, which was then left: it stays there */
{
	int home = ok(open("/proc/self/ns/net", O_RDONLY), "open the namespace"), fd;
	struct address to = given_address();

	ok(unshare(CLONE_NEWNET), "unshare(CLONE_NEWNET)");
	ok(setns(home, CLONE_NEWNET), "setns");
	fd = tcp_socket(to.storage.ss_family, 0);
	ok(connect(fd, (void *)&to.storage, to.size), "connect");
	greet(fd);
}

TECHNIQUE("vsock")	/* to ourselves: the loopback of AF_VSOCK */
{
	struct sockaddr_vm to = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_LOCAL, .svm_port = number("port", 0)};
	int fd = ok(socket(AF_VSOCK, SOCK_STREAM, 0), "vsock socket");

	if (!to.svm_port)
		absent("vsock: nobody can listen");

	if (connect(fd, (void *)&to, sizeof(to)) < 0) {
		if (errno == ENODEV || errno == ECONNRESET || errno == EADDRNOTAVAIL || errno == ETIMEDOUT)
			absent("vsock: no server can be reached at the local address (%s)", strerrorname_np(errno));
		failed("connect");
	}
	greet(fd);
}
