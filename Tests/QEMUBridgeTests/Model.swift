@testable import QEMUBridge
