/* Cases on standard input, trajectories on standard output, one line of JSON each. */
#ifndef PROTOCOL_H
#define PROTOCOL_H

int serve(void); /* returns the exit status */

#endif
