# SPDX-License-Identifier: Apache-2.0
export DIB_AMPHORA_CERTS_SIZE=${DIB_AMPHORA_CERTS_SIZE:-64m}
