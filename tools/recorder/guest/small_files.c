/* SPDX-License-Identifier: MIT */
/* Reading and writing files whole. */
#include "small_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

ssize_t small_file_read(const char *path, char *buffer, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t have = 0;
	ssize_t n = 0;
	int error;

	buffer[0] = '\0';
	if (fd < 0)
		return -errno;
	while (have < size - 1 && (n = read(fd, buffer + have, size - 1 - have)) > 0)
		have += (size_t)n;
	error = n < 0 ? -errno : 0;
	close(fd);
	buffer[error ? 0 : have] = '\0';
	return error ? error : (ssize_t)have;
}

int small_file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	int error = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		error = -errno;
	close(fd);
	return error;
}

/* mmap and not malloc: nothing of it may stay in the heap, which every task of a script inherits. */
char *small_file_load(const char *path, size_t *ret_size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t room = 1 << 20, have = 0;
	char *bytes, *larger;
	ssize_t n = -1;
	int error;

	if (fd < 0)
		return NULL;
	bytes = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	while (bytes != MAP_FAILED && (n = read(fd, bytes + have, room - 1 - have)) > 0) {
		have += (size_t)n;
		if (have < room - 1)
			continue;
		larger = mremap(bytes, room, 2 * room, MREMAP_MAYMOVE);
		if (larger == MAP_FAILED) {
			n = -1;
			break;
		}
		bytes = larger;
		room *= 2;
	}
	error = errno;
	close(fd);
	if (n < 0) {
		if (bytes != MAP_FAILED)
			munmap(bytes, room);
		errno = error;
		return NULL;
	}
	bytes[have] = '\0';
	*ret_size = have;
	return bytes;
}

void small_file_unload(char *bytes, size_t size)
{
	size_t room = 1 << 20;

	while (room - 1 <= size)
		room *= 2;
	if (bytes)
		munmap(bytes, room);
}

void sleep_ms(unsigned int ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}
