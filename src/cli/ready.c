// SPDX-License-Identifier: Apache-2.0
#include "cli/ready.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

static int send_to(const char *name, const char *message)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	size_t length = strlen(name);
	int fd, error = 0;

	if (length < 2 || length >= sizeof(address.sun_path) || (name[0] != '/' && name[0] != '@'))
		return -EINVAL;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	length += offsetof(struct sockaddr_un, sun_path);
	if (sendto(fd, message, strlen(message), MSG_NOSIGNAL | MSG_DONTWAIT,
		   (const struct sockaddr *)&address, (socklen_t)length) < 0)
		error = -errno;
	close(fd);
	return error;
}

void ready_tell(void)
{
	const char *name = getenv("NOTIFY_SOCKET");
	int error = name ? send_to(name, "READY=1") : 0;

	if (error)
		log_info("NOTIFY_SOCKET %s: %s", name, strerror(-error));
}
