/* SPDX-License-Identifier: MIT */
/*
 * Settings of the kernel that a script can change, and those that are what they are so that a transcript comes out the same
 * each time. All have their default again before every script.
 */
#ifndef GUEST_SETTINGS_H
#define GUEST_SETTINGS_H

/**
 * settings_reset() - give every setting its default.
 * @refused: told of each that could not be set, with the path and the (negative) error: this kernel may not have it.
 */
void settings_reset(void (*refused)(const char *path, int error));

/** setting_path() - the file behind a setting of the language. Return: NULL when there is no such setting. */
const char *setting_path(const char *name);

#endif
