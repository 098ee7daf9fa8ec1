"""What is stored: DynamoDB items, and the operations on them."""
