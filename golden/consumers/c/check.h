/* Golden files against what this program computes. */
#ifndef CHECK_H
#define CHECK_H

int check_files(char **paths, int count); /* returns the exit status */

#endif
