/* SPDX-License-Identifier: MIT */
/*
 * An array that grows, on the library's own allocator: who adds to it hears when there is no memory, and what it holds is
 * then as it was. glib's arrays end the process instead. All zero is an empty one.
 */
#ifndef BASE_GROW_H
#define BASE_GROW_H

#include <string.h>

#include <pagesim/alloc.h>

struct ps_grow {
	void *data;
	size_t n;    /* items, all of one size, which every call names */
	size_t room; /* items there is memory for */
};

/** Makes room for @more further items. Return: false without memory. */
static inline bool ps_grow_reserve(struct ps_grow *grow, size_t more, size_t size)
{
	size_t room = grow->room ? grow->room : 8;
	void *data;

	if (grow->room - grow->n >= more)
		return true;
	while (room - grow->n < more)
		room *= 2;
	data = ps_realloc(grow->data, room * size);
	if (!data)
		return false;
	grow->data = data;
	grow->room = room;
	return true;
}

/** Adds @count items. Return: false without memory, and nothing is added. */
static inline bool ps_grow_add_many(struct ps_grow *grow, const void *items, size_t count, size_t size)
{
	if (!ps_grow_reserve(grow, count, size))
		return false;
	if (count)
		memcpy((char *)grow->data + grow->n * size, items, count * size);
	grow->n += count;
	return true;
}

static inline bool ps_grow_add(struct ps_grow *grow, const void *item, size_t size)
{
	return ps_grow_add_many(grow, item, 1, size);
}

/** Takes item @i out; those behind it move up. */
static inline void ps_grow_remove(struct ps_grow *grow, size_t i, size_t size)
{
	char *at = (char *)grow->data + i * size;

	memmove(at, at + size, (--grow->n - i) * size);
}

/** Gives the memory back; the array is empty again. */
static inline void ps_grow_free(struct ps_grow *grow)
{
	ps_free(grow->data);
	memset(grow, 0, sizeof(*grow));
}

#endif
