/* SPDX-License-Identifier: MIT */
/*
 * /proc and /sys are small files that hold one value or a page of text. Reading and writing them whole is all the guest
 * ever does with them.
 */
#ifndef GUEST_SMALL_FILES_H
#define GUEST_SMALL_FILES_H

#include <stddef.h>
#include <sys/types.h>

/**
 * small_file_read() - read at most @size - 1 bytes and end them with a zero.
 * Return: how many; -errno, and an empty string.
 */
ssize_t small_file_read(const char *path, char *buffer, size_t size);

/** small_file_write() - write @text in one call, as the files of /proc and /sys want it. Return: 0, -errno. */
int small_file_write(const char *path, const char *text);

/**
 * small_file_load() - a file of any size, in memory of its own.
 * Return: the bytes (@ret_size of them, and a zero behind), to be freed with small_file_unload(); NULL with errno set.
 */
char *small_file_load(const char *path, size_t *ret_size);
void small_file_unload(char *bytes, size_t size);

/** sleep_ms() - sleep that long. */
void sleep_ms(unsigned int ms);

#endif
